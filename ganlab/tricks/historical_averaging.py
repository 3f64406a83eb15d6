import torch

from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Player, Turn
from ganlab.networks.weights import flat_weights
from ganlab.tricks.base import Compute, Order, Terms, Trick


class HistoricalAveraging(Trick):
    """Each player also minimises weight |w - (w[1] + ... + w[t]) / t|^2 (Salimans et al. 2016, section 3.3).

    w[i] are all of a player's weights after its i-th move, so w[t] are those that it has. The average is held
    constant: the gradient is 2 weight (w - average). Nothing is added before the first move: weights that
    were only drawn are no part of the history.
    """

    order = Order.OBSERVE  # the weights of layers that other tricks add count too
    needs = frozenset({Capability.IRREVOCABLE_MOVES})
    counts = ("moves",)

    def __init__(self, weight: float | Schedule):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.moves: dict[str, int] = {}

    def networks(self, networks: Networks) -> Networks:
        for player in ("generator", "discriminator"):
            network = getattr(networks, player)
            if network is not None:
                self.register_buffer(player, torch.zeros_like(flat_weights(network)))
                self.moves[player] = 0
        return networks

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if not self.moves[turn.player]:
            return terms
        gap = flat_weights(getattr(turn, turn.player)) - self.get_buffer(turn.player)
        return {**terms, "historical_averaging": self.weight(turn.step) * gap.square().sum()}

    @torch.no_grad()
    def after(self, player: Player, networks: Networks, step: int) -> None:
        self.moves[player] += 1
        self.get_buffer(player).lerp_(flat_weights(getattr(networks, player)), 1 / self.moves[player])
