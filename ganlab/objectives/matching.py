"""Objectives of direct matching: the generator minimises a distance between generated and real batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.errors import require
from ganlab.core.turn import Turn, at_least_float32
from ganlab.core.validation import Count
from ganlab.functional.distances import covariance_gap, median_distance, mmd2, moment_gap, sliced_wasserstein
from ganlab.functional.kernels import Kernel
from ganlab.objectives.base import Objective, PlayerWeights
from ganlab.objectives.spaces import Space

BatchEstimator = Literal["biased", "unbiased", "linear"]


class Matching(Objective):
    """Base class of distances between all generated and all real samples of the global batch.

    Args:
        space: maps the samples to the vectors that are compared.
    """

    players = ("generator",)
    provides = frozenset()

    def __init__(self, space: Space, weight: PlayerWeights):
        super().__init__(weight)
        self.space = space

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        fake, real = self.space(turn.generated), self.space(turn.real)
        fake, real = all_gather_with_grad(fake), all_gather_with_grad(real)  # [W B, D]
        # Differences of nearly equal sums would be lost in bfloat16.
        with torch.autocast(fake.device.type, enabled=False):
            return {"matching": self.distance(at_least_float32(fake), at_least_float32(real), turn)}

    @abstractmethod
    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        """The distance between generated and real vectors: [N, D] and [N, D] -> a scalar."""


class MMD(Matching):
    """The squared maximum mean discrepancy, or its root (Li, Swersky & Zemel 2015).

    Args:
        root: whether the root is taken, which needs the biased estimator.
        median: whether the samples are divided by the median distance between two real samples of the global
            batch, without a gradient. The widths of the kernel are then multiples of that distance, or of its
            square if they are variances.

    Raises:
        ConfigError: `root` with an estimator that can be negative, or `median` with a kernel without widths.
    """

    def __init__(
        self,
        kernel: Kernel,
        estimator: BatchEstimator,
        *,
        root: bool,
        median: bool,
        space: Space,
        weight: PlayerWeights,
    ):
        super().__init__(space, weight)
        self.mmd = KernelDistance(kernel, estimator, root=root)
        self.median = median
        reason = "scales the widths of a kernel, but this kernel has none"
        remedy = "set it to false, or choose a kernel such as objective/kernel=gaussian_mixture"
        require(kernel.has_scale or not median, ".median", median, reason, remedy)

    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        if self.median:
            unit = median_distance(real)
            fake, real = fake / unit, real / unit
        return self.mmd(fake, real)


class KernelDistance:
    """An estimator of the squared MMD or its root: x [N, D] and y [N, D] -> a scalar.

    It is shared by MMD and LearnedMMD.
    """

    def __init__(self, kernel: Kernel, estimator: BatchEstimator, *, root: bool):
        reason = f"cannot be taken of the {estimator} estimate, which can be negative"
        require(estimator == "biased" or not root, ".root", root, reason, "choose the biased estimator")
        self.kernel, self.estimator, self.root = kernel, estimator, root

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        squared = mmd2(x, y, self.kernel, self.estimator)
        # The square may be negative by rounding, and the root has no finite slope at 0.
        return squared.clamp_min(1e-12).sqrt() if self.root else squared


class Moments(Matching):
    """The sum of the squared gaps between moments.

    Args:
        orders: the orders of the moments of each feature: 1 is the mean, higher ones are central moments.
        covariance: whether the squared gap between the covariance matrices [D, D] is added.

    Raises:
        ConfigError: no orders are given, and no covariance.
    """

    def __init__(self, orders: Sequence[Count], *, covariance: bool, space: Space, weight: PlayerWeights):
        super().__init__(space, weight)
        remedy = "give an order, or set covariance=true"
        require(orders or covariance, ".orders", list(orders), "would match nothing", remedy)
        self.orders, self.covariance = list(orders), covariance

    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        gaps = [moment_gap(fake, real, order) for order in self.orders]
        if self.covariance:
            gaps.append(covariance_gap(fake, real))
        return torch.stack(gaps).sum()


class SlicedWasserstein(Matching):
    """The mean of W_p^p over projections onto random lines, drawn in each turn (Deshpande et al. 2018)."""

    def __init__(self, projections: Count, p: Literal[1, 2], space: Space, weight: PlayerWeights):
        super().__init__(space, weight)
        self.projections, self.p = projections, p

    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        # Equal on all ranks, because all of them compute the distance of the same global batch.
        directions = turn.random.shared_normal("projections", self.projections, fake.shape[1]).to(fake.dtype)
        return sliced_wasserstein(fake, real, normalize(directions), self.p)
