import torch

from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Player, Turn
from ganlab.networks.weights import flat_weights
from ganlab.tricks.base import Order, Terms, Trick


class HistoricalAveraging(Trick):
    """Adds `weight` * |w - average|^2 to each player's loss (Salimans et al. 2016, section 3.3).

    w is the vector of all weights of the player. The average is (w[1] + ... + w[t]) / t, where w[i] is the
    value of w after the player's i-th update, and t the number of updates so far. The average is held
    constant, so the gradient is 2 * `weight` * (w - average). There is no term before the first update,
    because the initial weights are not part of the average.
    """

    order = Order.OBSERVE  # after tricks that add layers, whose weights are included
    needs = frozenset({Capability.LASTING_DISCRIMINATOR_UPDATES})
    saved_attributes = ("moves",)

    def __init__(self, weight: ScheduleLike):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.moves: dict[str, int] = {}  # the number of updates of each player

    def networks(self, networks: Networks) -> None:
        for player in ("generator", "discriminator"):
            if (network := getattr(networks, player)) is not None:
                # The average of the player's weights is a buffer with the name of the player.
                self.register_buffer(player, torch.zeros_like(flat_weights(network)))
                self.moves[player] = 0

    def terms(self, turn: Turn) -> Terms:
        if not self.moves[turn.player]:
            return {}
        network, average = getattr(turn, turn.player), self.get_buffer(turn.player)
        difference = flat_weights(network) - average
        return {"historical_averaging": self.weight(turn.step) * difference.square().sum()}

    @torch.no_grad()
    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        self.moves[player] += 1
        self.get_buffer(player).lerp_(flat_weights(getattr(networks, player)), 1 / self.moves[player])
