import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from ganlab.networks.weights import parametrise, weight_layers
from ganlab.tricks.base import Capability, Networks, Order, PlayerChoice, PlayerTrick


class WeightNorm(PlayerTrick):
    """Weights are parametrised as w = g v / |v| for each output (Salimans & Kingma 2016, equation 2).

    The norm g and the direction v are separate parameters. Their initial values give the initial weights of
    the layer; there is no data-dependent initialisation (section 3).

    player: the player whose weights are parametrised: `discriminator`, `generator` or `both`.
    """

    order = Order.CONSTRAIN

    def __init__(self, player: PlayerChoice):
        super().__init__(player)
        self.claims = frozenset(Capability[f"{player.upper()}_WEIGHT_SCALE"] for player in self.players)

    def networks(self, networks: Networks) -> None:
        for name in networks.updated_by(self.players):
            for layer, dim in list(weight_layers(networks[name])):
                parametrise(layer, register_parametrization, parametrization=WeightNormParametrization(dim))


class WeightNormParametrization(nn.Module):
    """The weight g v / |v|, where the norm |v| is over all dimensions except `dim`, that of the outputs.

    The direction v has the shape of the weight, and g has size 1 in all dimensions except `dim`. torch's
    weight_norm cannot be used, because its second derivative, which gradients through unrolled steps need,
    treats |v| as a constant (observed in torch 2.15).
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return g * v / self._norm(v)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._norm(weight), weight

    def _norm(self, v: Tensor) -> Tensor:
        other_dims = [dim for dim in range(v.ndim) if dim != self.dim]
        return torch.linalg.vector_norm(v, dim=other_dims, keepdim=True)
