from torch.nn.utils.parametrizations import weight_norm

from ganlab.networks.weights import parametrise, weight_layers
from ganlab.tricks.base import Order, Trick
from ganlab.tricks.players import Side, chosen, needed, scales
from ganlab.turn import Networks


class WeightNorm(Trick):
    """w = g v / |v| for each output of each layer: length and direction are learned apart.

    Without the initialisation from data of the paper's section 3 (Salimans & Kingma 2016, equation 2):
    weights start as they would without.

    player: `discriminator`, `generator` or `both`.
    """

    order = Order.CONSTRAIN

    def __init__(self, player: Side):
        super().__init__()
        self.players = chosen("trick.weight_norm.player", player)
        self.needs, self.takes = needed(self.players), scales(self.players)

    def networks(self, networks: Networks) -> Networks:
        for player in self.players:
            for layer, dim in list(weight_layers(getattr(networks, player))):
                parametrise("weight_norm", layer, weight_norm, dim=dim)
        return networks
