import torch

from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike, as_schedule
from ganlab.core.validation import Count
from ganlab.networks.salimans2016 import NormalisedLinear
from ganlab.networks.weights import flat_weights, set_singular_vectors
from ganlab.tricks.base import Capability, Networks, Order, Player, PlayerChoice, PlayerTrick


class Lookahead(PlayerTrick):
    """Sets the weights to slow + `alpha` * (weights - slow) after every k-th update of the generator.

    The result becomes the new slow weights (Zhang et al. 2019, algorithm 1). The first slow weights are the
    initial weights. Both players are interpolated at the same time, however many updates the discriminator
    has had (Chavdarova et al. 2021, algorithm 1). The moments of the optimisers and the statistics of the
    networks stay as they are. Only the singular vectors of spectral norm are computed from the interpolated
    weights.

    The interpolation undoes a part of the discriminator's earlier updates. So tricks that average the
    discriminator's weights are refused, unless `player` is `generator`.

    k: the number of updates of the generator between interpolations, whichever player is interpolated.
    player: the player that is interpolated: `discriminator`, `generator` or `both`.
    """

    order = Order.CHANGE_WEIGHTS
    saved_attributes = ("num_updates",)

    def __init__(self, k: Count, alpha: ScheduleLike, player: PlayerChoice):
        super().__init__(player)
        self.k = k
        self.alpha = as_schedule(".alpha", alpha, "(0, 1)")
        if "discriminator" in self.players:
            self.claims = frozenset({Capability.LASTING_DISCRIMINATOR_UPDATES})
        self.num_updates = 0  # the number of updates of the generator

    def networks(self, networks: Networks) -> None:
        layers = [layer for name in networks.updated_by(self.players) for layer in networks[name].modules()]
        uninitialised = any(isinstance(x, NormalisedLinear) and x.initialise_at_next_batch for x in layers)
        # Only model=improved has layers of the class `NormalisedLinear`.
        reason = "would undo the scales and biases that model=improved computes from its first batch"
        remedy = "set it to generator, or choose another model, such as model=gan"
        require(not uninitialised, reason, remedy, key=".player", value=self.player)
        self.on_weights_loaded(networks)

    def on_weights_loaded(self, networks: Networks) -> None:
        for name in networks.updated_by(self.players):
            self.register_buffer(name, flat_weights(networks[name]).detach())

    @torch.no_grad()
    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player != "generator":
            return
        self.num_updates += 1
        if self.num_updates % self.k:
            return
        for name in networks.updated_by(self.players):
            network, slow = networks[name], self.get_buffer(name)
            slow.lerp_(flat_weights(network), self.alpha(step))
            weights = list(network.parameters())
            for weight, slow_weight in zip(weights, slow.split([w.numel() for w in weights]), strict=True):
                weight.copy_(slow_weight.view_as(weight))
            set_singular_vectors(network)
