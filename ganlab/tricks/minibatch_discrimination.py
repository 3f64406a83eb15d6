from ganlab.core.turn import Capability, Networks
from ganlab.core.validation import Count
from ganlab.networks.minibatch import ClosenessScore
from ganlab.tricks.base import Trick


class MinibatchDiscrimination(Trick):
    """The discriminator also sees how close a sample is to the others (Salimans et al. 2016, section 3.2).

    `kernels` closenesses o(x) in `dims` dimensions stand beside the features that the linear score sees;
    verdicts report the features without. Real samples and fakes are compared among themselves, as they are
    judged. Time and memory grow with kernels dims B^2.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SCORES})

    def __init__(self, kernels: Count, dims: Count):
        super().__init__()
        self.kernels, self.dims = kernels, dims

    def networks(self, networks: Networks) -> Networks:
        judge = networks.required_discriminator
        judge.scores.append(ClosenessScore(judge.num_features, self.kernels, self.dims))
        return networks
