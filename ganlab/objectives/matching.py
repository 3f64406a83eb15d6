"""Objectives of direct matching: the generator minimises a distance between generated and real batches."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.errors import require
from ganlab.core.validation import Count
from ganlab.functional import distances
from ganlab.functional.kernels import Kernel
from ganlab.objectives.base import LossWeights, Objective, Players, Turn
from ganlab.objectives.spaces import Space


class Matching(Objective):
    """Base class of distances between generated and real samples of the global batch, both in `space`."""

    players: ClassVar[Players] = {"generator": ("generator",)}

    def __init__(self, space: Space, weight: LossWeights):
        super().__init__(weight)
        self.space = space

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        # The vectors of all W processes, [W B, D].
        fake, real = (all_gather_with_grad(self.space(sample)) for sample in (turn.fake, turn.real))
        # Autocast is off, because in bfloat16 the difference of two nearly equal sums would be lost.
        with torch.autocast(fake.device.type, enabled=False):
            return {"matching": self.distance(at_least_float32(fake), at_least_float32(real), turn)}

    @abstractmethod
    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        """The distance between N generated and N real vectors: [N, D] and [N, D] -> a scalar."""


class MMD(Matching):
    """The squared maximum mean discrepancy, or its root (Li, Swersky & Zemel 2015).

    Args:
        root: whether the root is taken, which needs the biased estimator.
        median: whether all vectors are divided by the median distance between two real vectors of the global
            batch. No gradient flows through the median. The division makes the widths of the kernel, which it
            must have, multiples of the median distance, or of its square if the widths are variances.
    """

    def __init__(
        self,
        kernel: Kernel,
        estimator: distances.BatchEstimator,
        *,
        root: bool,
        median: bool,
        space: Space,
        weight: LossWeights,
    ):
        super().__init__(space, weight)
        self.mmd, self.scale_by_median = distances.MMDEstimator(kernel, estimator, take_root=root), median
        reason = "scales the widths of a kernel, but this kernel has none"
        remedy = "set it to false, or choose a kernel such as objective/kernel=gaussian_mixture"
        require(kernel.has_scale or not median, reason, remedy, ".median", median)

    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        if self.scale_by_median:
            median = distances.median_distance(real)
            fake, real = fake / median, real / median
        return self.mmd(fake, real)


class Moments(Matching):
    """The sum of the squared differences between the moments of generated and of real vectors.

    Args:
        orders: the orders of the moments that are compared in each element of the vectors. Order 1 is the
            mean; moments of higher order are central moments.
        covariance: whether the squared difference of the covariance matrices [D, D] is added; needed
            without orders.
    """

    def __init__(self, orders: Sequence[Count], *, covariance: bool, space: Space, weight: LossWeights):
        super().__init__(space, weight)
        remedy = "give an order, or set covariance=true"
        require(orders or covariance, "would match nothing", remedy, ".orders", list(orders))
        self.orders, self.match_covariance = list(orders), covariance

    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        gaps = [distances.moment(fake, order) - distances.moment(real, order) for order in self.orders]
        if self.match_covariance:  # with the divisor N instead of N - 1
            gaps.append(torch.cov(fake.T, correction=0) - torch.cov(real.T, correction=0))
        return torch.stack([gap.square().sum() for gap in gaps]).sum()


class SlicedWasserstein(Matching):
    """The sliced Wasserstein distance (Deshpande et al. 2018).

    The distance is the mean of W_p^p, the p-th power of the Wasserstein-p distance, over projections of the
    vectors onto as many random lines as `projections`, which are drawn in each turn.
    """

    def __init__(self, projections: Count, p: Literal[1, 2], space: Space, weight: LossWeights):
        super().__init__(space, weight)
        self.projections, self.p = projections, p

    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        # All processes draw the same lines, because they compute the distance of the same global batch.
        directions = turn.random.shared_normal("projections", self.projections, fake.shape[1]).to(fake.dtype)
        return distances.sliced_wasserstein(fake, real, normalize(directions), self.p)
