import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from ganlab.core.turn import Networks
from ganlab.networks.weights import parametrise, weight_layers
from ganlab.tricks.base import Order, Trick
from ganlab.tricks.players import SIDES, Side, needed, scales


class WeightNorm(Trick):
    """w = g v / |v| for each output of each layer: length and direction are learned apart.

    Without the initialisation from data of the paper's section 3 (Salimans & Kingma 2016, equation 2):
    weights start as they would without.

    player: `discriminator`, `generator` or `both`.
    """

    order = Order.CONSTRAIN

    def __init__(self, player: Side):
        super().__init__()
        self.players = SIDES[player]
        self.needs, self.claims = needed(self.players), scales(self.players)

    def networks(self, networks: Networks) -> Networks:
        for player in self.players:
            for layer, dim in list(weight_layers(getattr(networks, player))):
                parametrise("weight_norm", layer, normalise, dim=dim)
        return networks


class WeightNormParametrization(nn.Module):
    """g [..., outputs, ...], v of the weight's shape -> g v / |v|, |v| over all dimensions but `dim`.

    In place of torch's own weight_norm, whose second derivative lacks that of |v| (seen in torch 2.15):
    gradients through unrolled steps need it.
    """

    def __init__(self, weight: Tensor, dim: int):
        super().__init__()
        self.others = [other for other in range(weight.ndim) if other != dim]

    def forward(self, length: Tensor, direction: Tensor) -> Tensor:
        return length * direction / self._length(direction)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._length(weight), weight

    def _length(self, direction: Tensor) -> Tensor:
        return torch.linalg.vector_norm(direction, dim=self.others, keepdim=True)


def normalise(layer: nn.Module, name: str, dim: int) -> None:
    """Lets a layer's weight `name` be computed by `WeightNormParametrization`, in place."""
    register_parametrization(layer, name, WeightNormParametrization(layer.get_parameter(name), dim))
