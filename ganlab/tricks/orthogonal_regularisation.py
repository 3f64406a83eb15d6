import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Networks, Player, Turn, at_least_float32
from ganlab.networks.weights import optimised_weight, weight_layers
from ganlab.tricks.base import Order, PlayerChoice, PlayerTrick, Terms


class OrthogonalRegularisation(PlayerTrick):
    """Adds weight |W^T W * (1 - I)|_F^2, summed over a player's layers (Brock et al. 2019, equation 3).

    The columns of W are a layer's filters, one for each output. The products of different filters are
    penalised, and their norms are not. W is the parameter that the optimiser updates: with trick
    spectral_norm the weight before the division, with trick weight_norm the directions.

    BigGAN-PyTorch adds half of the equation's gradient, so its strength s corresponds to `weight` = s / 2.

    player: `generator`, as in the paper, `discriminator` or `both`.
    """

    order = Order.OBSERVE  # after tricks that add layers, whose filters are included

    def __init__(self, weight: ScheduleLike, player: PlayerChoice):
        super().__init__(player)
        self.weight = nonzero_schedule(".weight", weight)
        # For each layer of a player: the index of its weight among the player's parameters, and the dimension
        # of the weight that enumerates the outputs. Indices, because unrolled steps replace the parameters.
        self.filters: dict[Player, list[tuple[int, int]]] = {}

    def networks(self, networks: Networks) -> None:
        for player in self.players:
            network = getattr(networks, player)
            indices = {id(weight): index for index, weight in enumerate(network.parameters())}
            weights = [(optimised_weight(layer), dim) for layer, dim in weight_layers(network)]
            self.filters[player] = [(indices[id(w)], dim) for w, dim in weights if w.shape[dim] > 1]
            if not self.filters[player]:
                reason = f"needs a {player} that has a layer with two outputs or more"
                raise ConfigError(reason, f"set model.{player}.hidden, or remove the trick")

    def terms(self, turn: Turn) -> Terms:
        weights = list(getattr(turn, turn.player).parameters())
        products = [squared_products(weights[index], dim) for index, dim in self.filters[turn.player]]
        return {"orthogonal_regularisation": self.weight(turn.step) * torch.stack(products).sum()}


def squared_products(weight: Tensor, dim: int) -> Tensor:
    """The sum of the squared products of all pairs of filters of one layer, a scalar."""
    with torch.autocast(weight.device.type, enabled=False):
        rows = at_least_float32(weight).transpose(0, dim).flatten(1)  # [outputs, inputs]
        if len(rows) <= rows.shape[1]:
            products = rows @ rows.T
            return (products - products.diagonal().diag()).square().sum()
        # |W W^T| = |W^T W|, and the smaller product is cheaper. The difference of squares loses no precision,
        # because more filters than dimensions are far from orthogonal.
        return (rows.T @ rows).square().sum() - rows.square().sum(1).square().sum()
