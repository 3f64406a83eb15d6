from torch.nn.utils.parametrizations import spectral_norm

from ganlab.core.validation import Count
from ganlab.networks.class_conditioning import Projection
from ganlab.networks.weights import parametrise, weight_layers
from ganlab.tricks.base import Capability, Networks, Order, PlayerChoice, PlayerTrick


class SpectralNorm(PlayerTrick):
    """Every weight is divided by its largest singular value (Miyato et al. 2018, equation 8).

    The weight becomes W / sigma(W), where W is a layer's weight as a matrix [outputs, inputs] and sigma(W) is
    its largest singular value. A fully connected discriminator is then 1-Lipschitz if it has no norms and the
    slope of its activations is at most 1. A convolution with overlapping kernels may have a larger norm than
    its weight matrix.

    sigma is estimated by `iterations` steps of power iteration in each training pass, which start at the last
    estimate (algorithm 1). The gradient of sigma holds the singular vectors constant, as in equation 12.
    Gains and biases are not constrained. Batch norm is not constrained either, and undoes the constraint of
    the weights; to remove the batch norm, add the trick `normalisation`.

    player: the player whose weights are divided: `discriminator`, `generator` or `both` (Zhang et al. 2019).
        The class embedding of a projection discriminator is divided too, as in Miyato & Koyama 2018. The
        class embedding that trick label_conditioning, mode `embedding`, appends to the inputs is not divided.
    """

    order = Order.CONSTRAIN

    def __init__(self, player: PlayerChoice, iterations: Count):
        super().__init__(player)
        self.claims = frozenset(Capability[f"{player.upper()}_WEIGHT_SCALE"] for player in self.players)
        self.iterations = iterations

    def networks(self, networks: Networks) -> None:
        for name in networks.updated_by(self.players):
            network = networks[name]
            # A `Projection` maps features to a score for each class, as a linear layer with the embedding's
            # weight [classes, features] does. So dimension 0 enumerates the outputs.
            embeddings = [(m.embedding, 0) for m in network.modules() if isinstance(m, Projection)]
            for layer, dim in [*weight_layers(network), *embeddings]:
                parametrise(layer, spectral_norm, n_power_iterations=self.iterations, dim=dim)
