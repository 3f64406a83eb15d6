"""Objectives of direct matching: the generator alone is trained, to minimise a distance between batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike
from ganlab.core.turn import Player, Turn, at_least_float32
from ganlab.core.validation import Count, Widths
from ganlab.functional.distances import covariance_gap, median_distance, mmd2, moment_gap, sliced_wasserstein
from ganlab.functional.kernels import Kernel
from ganlab.objectives.base import Objective
from ganlab.objectives.spaces import Space

Weight = Mapping[Player, ScheduleLike]
BatchEstimator = Literal["biased", "unbiased", "linear"]


class Matching(Objective):
    """Base class of distances between the generated and the real samples of the global batch, in a space."""

    players = ("generator",)
    provides = frozenset()

    def __init__(self, space: Space, weight: Weight):
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
        """A scalar, from samples [N, D] and [N, D]."""


class MMD(Matching):
    """The squared maximum mean discrepancy, or its root (Li, Swersky & Zemel 2015).

    Args:
        root: whether the root is taken, which needs the biased estimator.
        median: whether the samples are divided by the median distance between two real samples of the global
            batch, without a gradient. The widths of the kernel are then multiples of it, or of its square if
            they are variances.

    Raises:
        ConfigError: the root of an estimate that can be negative, or a median for a kernel without widths.
    """

    def __init__(
        self,
        kernel: Kernel,
        estimator: BatchEstimator,
        *,
        root: bool,
        median: bool,
        space: Space,
        weight: Weight,
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
    """An estimate of the squared MMD of x [N, D] and y [N, D], or its root; a scalar."""

    def __init__(self, kernel: Kernel, estimator: BatchEstimator, *, root: bool):
        reason = f"cannot be taken of the {estimator} estimate, which can be negative"
        require(estimator == "biased" or not root, ".root", root, reason, "choose the biased estimator")
        self.kernel, self.estimator, self.root = kernel, estimator, root

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        squared = mmd2(x, y, self.kernel, self.estimator)
        # Rounding may have made it negative, and the root has no finite slope at 0.
        return squared.clamp_min(1e-12).sqrt() if self.root else squared


class Moments(Matching):
    """The sum of the squared gaps between moments.

    Args:
        orders: of the moments of each feature: the mean (1) and central moments.
        covariance: whether the squared gap between the covariance matrices [D, D] is added.

    Raises:
        ConfigError: neither orders nor the covariance.
    """

    def __init__(self, orders: Widths, *, covariance: bool, space: Space, weight: Weight):
        super().__init__(space, weight)
        remedy = "give an order, or set covariance=true"
        require(orders or covariance, ".orders", list(orders), "would match nothing", remedy)
        self.orders, self.covariance = list(orders), covariance

    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        gaps = [moment_gap(fake, real, order) for order in self.orders]
        return torch.stack([*gaps, *([covariance_gap(fake, real)] if self.covariance else [])]).sum()


class SlicedWasserstein(Matching):
    """W_p^p on random lines, which are drawn for each turn (Deshpande, Zhang & Schwing 2018)."""

    def __init__(self, projections: Count, p: Literal[1, 2], space: Space, weight: Weight):
        super().__init__(space, weight)
        self.projections, self.p = projections, p

    def distance(self, fake: Tensor, real: Tensor, turn: Turn) -> Tensor:
        directions = turn.random.shared_normal("projections", self.projections, fake.shape[1]).to(fake.dtype)
        return sliced_wasserstein(fake, real, normalize(directions), self.p)
