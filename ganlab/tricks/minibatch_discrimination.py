from torch import Tensor, nn

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.turn import Capability, Networks, at_least_float32
from ganlab.core.validation import Count
from ganlab.networks.base import Conditioned
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

    def networks(self, networks: Networks) -> None:
        discriminator = networks.required_discriminator
        discriminator.scores.append(ClosenessScore(discriminator.num_features, self.kernels, self.dims))


class Closeness(nn.Module):
    """Minibatch discrimination (Salimans et al. 2016, section 3.2): features [B, F] -> [B, kernels].

    With M_i = T f(x_i), [kernels, dims], the outputs are o(x_i)_b = sum_j exp(-|M_ib - M_jb|_1) over the
    samples j of the global batch; in evaluation, over those of the process. The term j = i adds 1, as in the
    paper. The released code subtracts it, so the score's bias has to be raised for weights from there.
    """

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.shape = (kernels, dims)
        self.projection = nn.Linear(num_features, kernels * dims, bias=False)  # T

    def forward(self, features: Tensor) -> Tensor:
        own = at_least_float32(self.projection(features)).unflatten(1, self.shape)  # [B, kernels, dims]
        others = all_gather_with_grad(own) if self.training else own  # [N, kernels, dims]
        distances = (own.unsqueeze(1) - others).abs().sum(3)  # [B, N, kernels]
        return (-distances).exp().sum(1)


class ClosenessScore(Conditioned):
    """The part of a linear score of features and closeness that depends on the closeness, [B]."""

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.closeness = Closeness(num_features, kernels, dims)
        self.score = nn.Linear(kernels, 1, bias=False)

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        return self.score(self.closeness(features)).squeeze(1)
