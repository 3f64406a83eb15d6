from torch import Tensor, nn

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.validation import Count
from ganlab.networks.base import Conditioned
from ganlab.tricks.base import Capability, Networks, Trick


class MinibatchDiscrimination(Trick):
    """The discriminator scores a sample together with its closeness to the others of its batch.

    This is minibatch discrimination (Salimans et al. 2016, section 3.2). The linear score receives `kernels`
    measures of closeness in addition to the features. Each measure compares linear projections of the
    features into `dims` dimensions. The features of a verdict do not include the closeness. Real samples are
    compared with real samples only, and fakes with fakes. Time and memory grow with `kernels` * `dims` * B^2.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.FEATURES})

    def __init__(self, kernels: Count, dims: Count):
        super().__init__()
        self.kernels, self.dims = kernels, dims

    def networks(self, networks: Networks) -> None:
        discriminator = networks.discriminator
        # The logits are the sum of the linear score and all modules in `further_scores`.
        score = ClosenessScore(discriminator.num_features, self.kernels, self.dims)
        discriminator.further_scores.append(score)


class Closeness(nn.Module):
    """The closeness of each sample to the N samples of its batch: features [B, F] -> [B, kernels].

    Sample i has the projections M_i = T f(x_i), [kernels, dims], and the outputs
    o(x_i)_b = sum_j exp(-|M_ib - M_jb|_1). The sum is over the samples j of the global batch; in evaluation,
    over those of the process. The term j = i adds 1, as in the paper. The released code leaves this term out.
    To use weights of that code, subtract the sum of the weights of `ClosenessScore.score` from the bias of
    the discriminator's linear score.
    """

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.shape = (kernels, dims)
        self.projection = nn.Linear(num_features, kernels * dims, bias=False)  # T

    def forward(self, features: Tensor) -> Tensor:
        projected = at_least_float32(self.projection(features)).unflatten(1, self.shape)  # [B, kernels, dims]
        batch = all_gather_with_grad(projected) if self.training else projected  # [N, kernels, dims]
        distances = (projected.unsqueeze(1) - batch).abs().sum(3)  # [B, N, kernels]
        return (-distances).exp().sum(1)


class ClosenessScore(Conditioned):
    """The part of a linear score that depends on the closeness: features [B, F] -> [B]."""

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.closeness = Closeness(num_features, kernels, dims)
        self.score = nn.Linear(kernels, 1, bias=False)

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        return self.score(self.closeness(features)).squeeze(1)
