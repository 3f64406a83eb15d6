from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ganlab.core.errors import require
from ganlab.core.randomness import RandomStreams, proportional_classes
from ganlab.core.schedules import Schedule, ScheduleLike, WarmUp, as_schedule
from ganlab.core.validation import NonEmpty
from ganlab.networks.base import Generator
from ganlab.networks.norms import set_standing_statistics
from ganlab.networks.weights import set_singular_vectors
from ganlab.tricks.base import Capability, Networks, Order, Player, Trick

# The number and the size of the batches of latents from which batch norm statistics are computed.
NUM_BATCHES, BATCH_SIZE = 4, 250
NUM_CONDITIONS = 32  # the number of images or vectors that the generator is told for these latents, in turn


class EMA(Trick):
    """Samples are drawn from an exponential moving average of the generator (Yazici et al. 2019).

    After each update of the player, the average becomes `decay` * average + (1 - `decay`) * weights. Buffers
    are copied. The first update copies the weights, so the average does not depend on the initial ones.

    Before the generator's average is used, its batch norm statistics are computed from samples of the
    average, because the statistics of the generator do not fit the averaged weights. The singular vectors of
    spectral norm are those of the averaged weights, for both players. The discriminator's average classifies
    samples outside of training, as in the code of Salimans et al. (2016). So a discriminator that is averaged
    must have a class head. It must not have batch norm, because the statistics of its average are not
    recomputed.

    decay: strictly between 0 and 1. A number is warmed up (`core.schedules.WarmUp`), because an average over
        more steps than were played consists mostly of the first weights. A schedule is used as it is.
    players: the players whose networks are averaged.
    """

    order = Order.OBSERVE
    saved_attributes = ("num_updates",)

    def __init__(self, decay: ScheduleLike, players: NonEmpty[Player]):
        super().__init__()
        schedule = as_schedule(".decay", decay, "(0, 1)")
        self.decay = schedule if isinstance(decay, Schedule) else WarmUp(decay)
        if "discriminator" in players:
            # Refuses lookahead for the discriminator, which undoes a part of the averaged updates.
            self.needs = frozenset({Capability.DISCRIMINATOR, Capability.LASTING_DISCRIMINATOR_UPDATES})
        self.num_updates = dict.fromkeys(players, 0)  # the number of updates of each player
        self.players = tuple(self.num_updates)
        self.averages = nn.ModuleDict()  # by the names of the networks
        # Copies of the averages whose statistics and singular vectors fit the averaged weights, by network,
        # device and precision. They are not part of the state, so sampling does not change the game.
        self._prepared: dict[tuple[str, torch.device, torch.dtype], nn.Module] = {}

    def networks(self, networks: Networks) -> None:
        players = list(self.players)
        unknown = [player for player in players if player not in networks.players]
        remedy = f"choose from {', '.join(networks.players)}"
        require(not unknown, "the game has no such player", remedy, key=".players", value=players)
        if "discriminator" in players:
            discriminator = networks.discriminator
            reason = "has no effect on a discriminator without a class head"
            remedy = "leave discriminator out, or add trick semi_supervised or auxiliary_classifier"
            require(discriminator.class_head is not None, reason, remedy, key=".players", value=players)
            has_norm = any(isinstance(layer, _BatchNorm) for layer in discriminator.modules())
            reason = "would classify with batch norm statistics that are not those of the average"
            setting = "trick.normalisation.player=discriminator"
            remedy = f"leave discriminator out, or add trick=normalisation with {setting}"
            require(not has_norm, reason, remedy, key=".players", value=players)
        for name in networks.updated_by(players):
            self.averages[name] = deepcopy(networks[name]).requires_grad_(False)
        condition = networks.generator.condition
        is_told_tensors = condition is not None and condition.kind != "class"
        conditions = networks.conditions(NUM_CONDITIONS) if is_told_tensors else None
        # Those of training samples, saved because a game that is loaded has no data.
        self.conditions = None if conditions is None else nn.Buffer(conditions)

    def on_weights_loaded(self, networks: Networks) -> None:
        for name, average in self.averages.items():
            average.load_state_dict(networks[name].state_dict())
        self._prepared = {}

    @torch.no_grad()
    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player not in self.players:
            return
        decay = self.decay(step) if self.num_updates[player] else 0.0
        self.num_updates[player] += 1
        for name in networks.updated_by([player]):
            average, network = self.averages[name], networks[name]
            # The 0 is the number of averaged networks, which torch's function does not use.
            get_ema_multi_avg_fn(decay)(list(average.parameters()), list(network.parameters()), 0)
            for buffer, current in zip(average.buffers(), network.buffers(), strict=True):
                buffer.copy_(current)
        self._prepared = {}

    def presented(self, name: str, network: nn.Module) -> nn.Module:
        """The average of a network, ready for evaluation, or the given network if it is not averaged."""
        if name not in self.averages:
            return network
        average = self.averages[name]
        weight = next(average.parameters())
        key = name, weight.device, weight.dtype
        if key not in self._prepared:
            # The memo makes deepcopy return the weights themselves, so the copy shares them with the average.
            prepared = deepcopy(average, memo={id(weight): weight for weight in average.parameters()})
            set_singular_vectors(prepared)
            if isinstance(prepared, Generator):
                set_standing_statistics(prepared, latent_batches(prepared, self.conditions))
            self._prepared[key] = prepared
        return self._prepared[key]

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self._prepared = {}


def latent_batches(generator: Generator, conditions: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields batches of latents with conditions, which are the same at every call.

    Classes are as frequent as in the training data; images or vectors are the given ones, in turn.
    """
    weight = next(generator.parameters())
    asked = None if conditions is None else conditions.to(weight.dtype)
    if generator.num_classes is not None:
        counts = generator.class_counts or [1] * generator.num_classes
        asked = proportional_classes(counts, NUM_BATCHES * BATCH_SIZE).sort().values.to(weight.device)
    if asked is not None:
        asked = asked[torch.arange(NUM_BATCHES * BATCH_SIZE, device=weight.device) % len(asked)]
    for batch in range(NUM_BATCHES):
        random = RandomStreams("ema", batch, device=weight.device)
        latent = generator.prior(random, BATCH_SIZE, generator.latent_dim)
        # Sorted classes are dealt out like cards, so their numbers in two batches differ by at most 1.
        yield latent.to(weight.dtype), None if asked is None else asked[batch::NUM_BATCHES]
