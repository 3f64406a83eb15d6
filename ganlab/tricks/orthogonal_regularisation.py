import torch
from torch import Tensor, nn

from ganlab.core.batch import at_least_float32
from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.networks.weights import optimised_weight, weight_layers
from ganlab.tricks.base import Networks, Order, Player, PlayerChoice, PlayerTrick, Terms, Turn


class OrthogonalRegularisation(PlayerTrick):
    """Adds `weight` * |W^T W * (1 - I)|_F^2, summed over a player's layers (Brock et al. 2019, equation 3).

    The columns of W are a layer's filters, one for each output. The product with (1 - I) is elementwise, and
    |.|_F is the Frobenius norm. So the scalar products of different filters are penalised, and the norms of
    the filters are not. W is the parameter that the optimiser updates. With trick spectral_norm this is the
    weight before its division by the singular value, and with trick weight_norm it is the direction of the
    weight.

    BigGAN-PyTorch adds half of the equation's gradient, so its strength s corresponds to `weight` = s / 2.

    player: the player whose layers are penalised: `generator`, as in the paper, `discriminator` or `both`.
    """

    order = Order.OBSERVE  # after tricks that add layers, whose filters are included

    def __init__(self, weight: ScheduleLike, player: PlayerChoice):
        super().__init__(player)
        self.weight = nonzero_schedule(".weight", weight)
        # The layers of each player, each with the dimension of its weight that enumerates the outputs. The
        # weights are not stored, because unrolled steps put other tensors into the layers.
        self.layers: dict[Player, list[tuple[nn.Module, int]]] = {}

    def networks(self, networks: Networks) -> None:
        for player in self.players:
            names = networks.updated_by([player])
            layers = [pair for name in names for pair in weight_layers(networks[name])]
            # A layer with one filter has no products of different filters.
            self.layers[player] = [(x, dim) for x, dim in layers if optimised_weight(x).shape[dim] > 1]
            reason = f"needs a {player} that has a layer with two outputs or more"
            require(self.layers[player], reason, f"set model.{player}.hidden, or remove the trick")

    def terms(self, turn: Turn) -> Terms:
        layers = self.layers[turn.player]
        products = [squared_products(optimised_weight(layer), dim) for layer, dim in layers]
        return {"orthogonal_regularisation": self.weight(turn.step) * torch.stack(products).sum()}


def squared_products(layer_weight: Tensor, dim: int) -> Tensor:
    """The sum of the squared scalar products of different filters, which `dim` enumerates, a scalar."""
    with torch.autocast(layer_weight.device.type, enabled=False):
        filters = at_least_float32(layer_weight).transpose(0, dim).flatten(1)  # [outputs, inputs]
        if len(filters) <= filters.shape[1]:
            products = filters @ filters.T
            return (products - products.diagonal().diag()).square().sum()
        # With more filters F than inputs, F^T F is smaller than F F^T, and has the same Frobenius norm. The
        # subtraction of the diagonal loses no precision, because such filters are far from orthogonal.
        squared_norms = filters.square().sum(1)  # [outputs]
        return (filters.T @ filters).square().sum() - squared_norms.square().sum()
