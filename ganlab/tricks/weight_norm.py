import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from ganlab.core.turn import Networks
from ganlab.networks.weights import parametrise, weight_layers
from ganlab.tricks.base import Order, PlayerChoice, PlayerTrick


class WeightNorm(PlayerTrick):
    """w = g v / |v| for each output of each layer (Salimans & Kingma 2016, equation 2).

    Norm g and direction v are separate parameters. The data-dependent initialisation of section 3 is left
    out: the weights start as in the plain layer.

    player: `discriminator`, `generator` or `both`.
    """

    order = Order.CONSTRAIN

    def __init__(self, player: PlayerChoice):
        super().__init__(player)
        self.claims = self.weight_scale_capabilities

    def networks(self, networks: Networks) -> None:
        for player in self.players:
            for layer, dim in list(weight_layers(getattr(networks, player))):
                weight_norm = WeightNormParametrization(layer.get_parameter("weight").ndim, dim)
                parametrise(layer, register_parametrization, parametrization=weight_norm)


class WeightNormParametrization(nn.Module):
    """g [..., outputs, ...], v of the weight's shape -> g v / |v|, |v| over all dimensions but `dim`.

    It replaces torch's weight_norm, whose second derivative lacks that of |v| (observed in torch 2.15);
    gradients through unrolled steps need it.
    """

    def __init__(self, num_dims: int, dim: int):
        super().__init__()
        self.others = [other for other in range(num_dims) if other != dim]

    def forward(self, length: Tensor, direction: Tensor) -> Tensor:
        return length * direction / self._norm(direction)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._norm(weight), weight

    def _norm(self, direction: Tensor) -> Tensor:
        return torch.linalg.vector_norm(direction, dim=self.others, keepdim=True)
