import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Networks, Player, Turn, at_least_float32
from ganlab.networks.weights import optimised_weight, weight_layers
from ganlab.tricks.base import Compute, Order, Terms, Trick
from ganlab.tricks.players import SIDES, Side, needed


class OrthogonalRegularisation(Trick):
    """weight |W^T W * (1 - I)|_F^2, summed over a player's layers (Brock et al. 2019, equation 3).

    The columns of W are a layer's filters, one for each output: all products of two of them are to be zero,
    and their lengths are left free. The weights are those that the optimiser moves: where trick
    spectral_norm divides them, what is divided, and where trick weight_norm scales them, the directions.

    The slope is that of the equation. BigGAN-PyTorch adds half of it: its strength s is a weight of s / 2.

    player: `generator`, as in the paper, `discriminator` or `both`.
    """

    order = Order.OBSERVE  # the filters of layers that other tricks add count too

    def __init__(self, weight: float | Schedule, player: Side):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.players = SIDES[player]
        self.needs = needed(self.players)
        # Where a player's filters are among its parameters, and which dimension of theirs counts outputs.
        self.filters: dict[Player, list[tuple[int, int]]] = {}

    def networks(self, networks: Networks) -> Networks:
        for player in self.players:
            self.filters[player] = filters(getattr(networks, player))
            if not self.filters[player]:
                raise ConfigError(
                    f"trick orthogonal_regularisation needs a {player} with a layer of two outputs or more: "
                    "give it a hidden layer, or set trick.orthogonal_regularisation.player"
                )
        return networks

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player not in self.filters:
            return terms
        weights = list(getattr(turn, turn.player).parameters())
        products = [alike(weights[place], dim) for place, dim in self.filters[turn.player]]
        penalty = self.weight(turn.step) * torch.stack(products).sum()
        return {**terms, "orthogonal_regularisation": penalty}


def filters(network: nn.Module) -> list[tuple[int, int]]:
    """The places of a network's filters among its parameters, with the dimension that counts outputs."""
    places = {id(weight): place for place, weight in enumerate(network.parameters())}
    layers = [(optimised_weight(layer), dim) for layer, dim in weight_layers(network)]
    return [(places[id(weight)], dim) for weight, dim in layers if weight.shape[dim] > 1]


def alike(weight: Tensor, dim: int) -> Tensor:
    """The sum of all squared products of two filters of one layer, a scalar."""
    with torch.autocast(weight.device.type, enabled=False):
        rows = at_least_float32(weight).transpose(0, dim).flatten(1)  # [outputs, the rest]
        if len(rows) <= rows.shape[1]:
            products = rows @ rows.T
            return (products - products.diagonal().diag()).square().sum()
        # |W W^T| = |W^T W|, of which the shorter is cheaper. The difference loses no digits: more filters
        # than dimensions are far from orthogonal.
        return (rows.T @ rows).square().sum() - rows.square().sum(1).square().sum()
