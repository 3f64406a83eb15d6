from torch.nn.utils.parametrizations import spectral_norm

from ganlab.core.turn import Networks
from ganlab.core.validation import Count
from ganlab.networks.class_conditioning import Projection
from ganlab.networks.weights import parametrise, weight_layers
from ganlab.tricks.base import Order, Trick
from ganlab.tricks.players import SIDES, Side, needed, scales


class SpectralNorm(Trick):
    """Every weight is divided by its largest singular value (Miyato et al. 2018, equation 8).

    W / sigma(W), where W is a layer's weight as a matrix [outputs, the rest]; so a fully connected
    discriminator without norms and with slopes of at most 1 in between is 1-Lipschitz. A convolution whose
    kernels overlap may stretch more than its weight as a matrix. sigma is estimated by `iterations` steps of
    the power method in each pass of training, which go on from the last pass (algorithm 1); its gradient
    takes the singular vectors for constants, as equation 12 does. Gains and biases are left free, and so is
    batch norm, which undoes the constraint: trick normalisation takes it out.

    player: `discriminator`, `generator` or `both` (Zhang et al. 2019). The class embedding of a projection
    is constrained too, as Miyato & Koyama 2018 have it; planes or columns of a class, which stand beside the
    sample, are not.
    """

    order = Order.CONSTRAIN

    def __init__(self, player: Side, iterations: Count):
        super().__init__()
        self.players = SIDES[player]
        self.needs, self.claims = needed(self.players), scales(self.players)
        self.iterations = iterations

    def networks(self, networks: Networks) -> Networks:
        for player in self.players:
            network = getattr(networks, player)
            classes = [(m.embedding, 0) for m in network.modules() if isinstance(m, Projection)]
            for layer, dim in [*weight_layers(network), *classes]:
                parametrise(
                    "spectral_norm", layer, spectral_norm, n_power_iterations=self.iterations, dim=dim
                )
        return networks
