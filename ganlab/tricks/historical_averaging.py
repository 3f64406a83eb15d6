import torch

from ganlab.core.schedules import ScheduleLike
from ganlab.networks.weights import flat_weights
from ganlab.tricks.base import Capability, Networks, Order, Player, Terms, Turn, WeightedTrick


class HistoricalAveraging(WeightedTrick):
    """Adds `weight` * |w - average|^2 to each player's loss (Salimans et al. 2016, section 3.3).

    w is the vector of all weights of the player. The average is (w[1] + ... + w[t]) / t, where w[i] is the
    value of w after the player's i-th update, and t the number of updates so far. The average is held
    constant, so the gradient is 2 * `weight` * (w - average). There is no term before the first update,
    because the initial weights are not part of the average.
    """

    order = Order.OBSERVE  # after tricks that add layers, whose weights are included
    needs = frozenset({Capability.LASTING_DISCRIMINATOR_UPDATES})
    saved_attributes = ("num_updates",)

    def __init__(self, weight: ScheduleLike):
        super().__init__(weight)
        self.num_updates: dict[str, int] = {}  # the number of updates of each player
        self.updated: dict[str, list[str]] = {}  # the names of the networks that each player updates

    def networks(self, networks: Networks) -> None:
        self.players = tuple(networks.players)
        self.num_updates = dict.fromkeys(networks.players, 0)
        self.updated = {player: networks.updated_by([player]) for player in networks.players}
        for name in networks.updated_by(networks.players):
            # The average of the weights is a buffer with the name of the network.
            self.register_buffer(name, torch.zeros_like(flat_weights(networks[name])))

    def terms(self, turn: Turn) -> Terms:
        if not self.num_updates[turn.player]:
            return {}
        names = self.updated[turn.player]
        differences = [flat_weights(turn.networks[name]) - self.get_buffer(name) for name in names]
        squares = torch.stack([difference.square().sum() for difference in differences])
        return {"historical_averaging": self.weight(turn.step) * squares.sum()}

    @torch.no_grad()
    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        self.num_updates[player] += 1
        for name in self.updated[player]:
            self.get_buffer(name).lerp_(flat_weights(networks[name]), 1 / self.num_updates[player])
