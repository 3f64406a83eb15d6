from ganlab.core.turn import Capability, Networks
from ganlab.core.validation import Count
from ganlab.networks.minibatch import ClosenessScore
from ganlab.tricks.base import Trick


class MinibatchDiscrimination(Trick):
    """The discriminator sees how close a sample is to its batch (Salimans et al. 2016, section 3.2).

    `kernels` closenesses o(x), each in `dims` dimensions, are appended to the features that the linear
    score uses; the features of a verdict do not include them. Real samples and fakes are compared
    among themselves. Time and memory grow with kernels dims B^2.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SCORES})

    def __init__(self, kernels: Count, dims: Count):
        super().__init__()
        self.kernels, self.dims = kernels, dims

    def networks(self, networks: Networks) -> Networks:
        discriminator = networks.required_discriminator
        discriminator.scores.append(ClosenessScore(discriminator.num_features, self.kernels, self.dims))
        return networks
