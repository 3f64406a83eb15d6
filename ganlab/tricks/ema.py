from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Annotated, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams, proportional_classes
from ganlab.core.schedules import Schedule, WarmUp, as_schedule
from ganlab.core.turn import Capability, Networks, Player
from ganlab.networks.base import Discriminator, Generator
from ganlab.networks.norms import set_standing_statistics
from ganlab.networks.weights import set_singular_vectors
from ganlab.tricks.base import Order, Trick

BATCHES, SIZE = 4, 250  # samples from which the average's batch norm takes its statistics


class EMA(Trick):
    """Samples come from an exponential moving average of the generator (Yazici et al. 2019).

    average <- decay average + (1 - decay) weights, after each move of the player; buffers are copied. The
    first move copies the weights, so the average never remembers the initialisation. Where the generator has
    batch norm, the statistics of its average are taken from samples of the average itself before it is shown:
    under those of the generator it shows what neither has learned. Likewise the singular vectors of spectral
    norm are those of the averaged weights, of either player. The discriminator's average says the
    classes of samples, where it tells any, outside of the game (Salimans et al. 2016, code); one with batch
    norm is refused, whose statistics mix real samples and fakes and are none of the average's.

    decay: between 0 and 1, neither of them. A number is warmed up (`core.schedules.WarmUp`): an average that
    remembers more rounds than were played is mostly the first weights. A schedule is taken as it is.
    """

    order = Order.OBSERVE
    counts = ("moves",)

    def __init__(self, decay: float | Schedule, players: Annotated[Sequence[Player], 1]):
        super().__init__()
        self.decay = as_schedule(".decay", decay, "(0, 1)")
        if not isinstance(decay, Schedule):
            self.decay = WarmUp(decay)
        if "discriminator" in players:
            self.needs = frozenset({Capability.DISCRIMINATOR, Capability.IRREVOCABLE_MOVES})
        self.moves = dict.fromkeys(players, 0)
        self.averages = nn.ModuleDict()
        # The averages under statistics and singular vectors of their own, and where: beside the state, which
        # to look at the game must not change.
        self.shown: dict[str, tuple[torch.device, nn.Module]] = {}

    def networks(self, networks: Networks) -> Networks:
        if "discriminator" in self.moves:
            check(networks.discriminator)
        for player in self.moves:
            self.averages[player] = deepcopy(getattr(networks, player)).requires_grad_(False)
        return networks

    def on_weights_loaded(self, networks: Networks) -> None:
        for player in self.moves:
            self.averages[player].load_state_dict(getattr(networks, player).state_dict())
        self.shown = {}

    @torch.no_grad()
    def after(self, player: Player, networks: Networks, step: int) -> None:
        if player not in self.moves:
            return
        decay = self.decay(step) if self.moves[player] else 0.0
        self.moves[player] += 1
        average, network = self.averages[player], getattr(networks, player)
        get_ema_multi_avg_fn(decay)(list(average.parameters()), list(network.parameters()), 0)
        for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
        self.shown = {}

    def sampler(self, generator: nn.Module) -> nn.Module:
        return self._shown("generator", generator)

    def classifier(self, discriminator: Discriminator) -> Discriminator:
        return cast(Discriminator, self._shown("discriminator", discriminator))

    def _shown(self, player: Player, network: nn.Module) -> nn.Module:
        """A player's average as it is shown, or the network itself where none is kept."""
        if player not in self.moves:
            return network
        average = self.averages[player]
        device = next(average.parameters()).device
        if player not in self.shown or self.shown[player][0] != device:
            network = deepcopy(average, {id(weight): weight for weight in average.parameters()})  # shared
            set_singular_vectors(network)
            if isinstance(network, Generator):
                set_standing_statistics(network, latents(network))
            self.shown[player] = device, network
        return self.shown[player][1]

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.shown = {}


def check(judge: Discriminator | None) -> None:
    """Refuses to average a discriminator that nobody would ask, or not as it is."""
    if judge is None or judge.classes is None:
        raise ConfigError(
            "trick.ema.players=[..., discriminator] would do nothing where the discriminator tells no "
            "classes: leave it out, or add trick semi_supervised or auxiliary_classifier"
        )
    if any(isinstance(layer, _BatchNorm) for layer in judge.modules()):
        raise ConfigError(
            "trick.ema.players=[..., discriminator] would classify under batch statistics that are not "
            "the average's: leave it out, or add trick=normalisation "
            "trick.normalisation.player=discriminator"
        )


def latents(generator: Generator) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Latents and classes of a few batches of samples, always the same ones."""
    weight = next(generator.parameters())
    rows = torch.arange(SIZE, device=weight.device)
    classes = None
    if generator.num_classes is not None:  # in each batch as often as in training, however many there are
        counts = generator.class_counts or [1] * generator.num_classes
        classes = proportional_classes(counts, SIZE * BATCHES).sort().values.to(rows.device)
    for number in range(BATCHES):
        latent = generator.prior(
            RandomStreams("ema", number, device=weight.device), SIZE, generator.latent_dim
        )
        yield latent.to(weight.dtype), None if classes is None else classes[rows * BATCHES + number]
