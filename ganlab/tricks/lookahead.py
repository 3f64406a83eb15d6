import torch

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, as_schedule
from ganlab.core.turn import Capability, Networks, Player
from ganlab.core.validation import Count
from ganlab.networks.weights import flat_weights, set_singular_vectors
from ganlab.tricks.base import Order, Trick
from ganlab.tricks.players import SIDES, Side, needed


class Lookahead(Trick):
    """After every k-th move of the generator weights go back, to slow + alpha (weights - slow).

    There they become the new slow ones (Zhang et al. 2019, algorithm 1). Both players go back at once,
    however often the discriminator has moved meanwhile: it is a step of the game, not of two losses
    (Chavdarova et al. 2021, algorithm 1). The first slow weights are those that the game begins with.
    Optimisers keep their moments, and networks their statistics; only the singular vectors of spectral norm
    are those of the weights where it went back to.

    The generator's move is not over before it went back, the discriminator's is: the generator moves against
    it. So whatever averages the discriminator's weights after its moves is refused, but for `generator`.

    player: `both`, or only one of them; it is the moves of the generator that count for either.
    """

    order = Order.MOVE
    counts = ("moves",)

    def __init__(self, k: Count, alpha: float | Schedule, player: Side):
        super().__init__()
        self.k = k
        self.alpha = as_schedule(".alpha", alpha, "(0, 1)")
        self.players = SIDES[player]
        self.needs = needed(self.players)
        if "discriminator" in self.players:
            self.claims = frozenset({Capability.IRREVOCABLE_MOVES})
        self.moves = 0

    def networks(self, networks: Networks) -> Networks:
        if any(
            getattr(layer, "uninitialised", False)
            for mover in self.players
            for layer in getattr(networks, mover).modules()
        ):
            raise ConfigError(
                "trick lookahead would go back to scales and biases that model=improved sets by its first "
                "batch only: set trick.lookahead.player=generator, or choose another model, such as model=gan"
            )
        self.on_weights_loaded(networks)
        return networks

    def on_weights_loaded(self, networks: Networks) -> None:
        for player in self.players:
            self.register_buffer(player, flat_weights(getattr(networks, player)).detach())

    def after(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator":
            return
        self.moves += 1
        if self.moves % self.k == 0:
            for mover in self.players:
                self._go_back(mover, getattr(networks, mover), self.alpha(step))

    @torch.no_grad()
    def _go_back(self, player: Player, network: torch.nn.Module, alpha: float) -> None:
        slow = self.get_buffer(player)
        slow.lerp_(flat_weights(network), alpha)
        weights = list(network.parameters())
        for weight, part in zip(weights, slow.split([w.numel() for w in weights]), strict=True):
            weight.copy_(part.view_as(weight))
        set_singular_vectors(network)
