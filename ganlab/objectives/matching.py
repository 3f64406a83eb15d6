"""Direct matching: the generator alone moves, towards the data as a whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule
from ganlab.core.turn import Player, Turn, at_least_float32
from ganlab.core.validation import Count, Widths
from ganlab.functional.distances import covariance_gap, median_distance, mmd2, moment_gap, sliced_wasserstein
from ganlab.functional.kernels import Kernel
from ganlab.objectives.base import Objective
from ganlab.objectives.spaces import Space

Weight = Mapping[Player, float | Schedule]
OfBatches = Literal["biased", "unbiased", "linear"]


class Matching(Objective):
    """A distance of the made from the real samples of the global batch, taken in a space."""

    players = ("generator",)
    provides = frozenset()

    def __init__(self, space: Space, weight: Weight):
        super().__init__(weight)
        self.space = space

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        made, real = (
            all_gather_with_grad(self.space(turn.generated)),
            all_gather_with_grad(self.space(turn.real)),
        )  # [W B, D]
        # Nearly equal sums of many values are subtracted: bfloat16 would leave nothing.
        with torch.autocast(made.device.type, enabled=False):
            return {"matching": self.distance(at_least_float32(made), at_least_float32(real), turn)}

    @abstractmethod
    def distance(self, made: Tensor, real: Tensor, turn: Turn) -> Tensor:
        """A scalar, from [N, D] and [N, D]."""


class MMD(Matching):
    """Squared maximum mean discrepancy, or its root (Li, Swersky & Zemel 2015).

    median: the samples are divided by the median distance between two real ones of this round's global
    batch, without a gradient: a kernel's widths are then multiples of it (of its square where the width
    is a variance).
    """

    def __init__(
        self, kernel: Kernel, estimator: OfBatches, root: bool, median: bool, space: Space, weight: Weight
    ):
        super().__init__(space, weight)
        check_estimator(estimator, root)
        self.kernel = kernel
        self.estimator: OfBatches = estimator
        self.root = root
        self.median = median
        if median and not kernel.has_scale:
            raise ConfigError(
                "objective.median=true scales the widths of a kernel, and this one has none: leave it out, "
                "or choose another, such as objective/kernel=gaussian_mixture"
            )

    def distance(self, made: Tensor, real: Tensor, turn: Turn) -> Tensor:
        if self.median:
            unit = median_distance(real)
            made, real = made / unit, real / unit
        squared = mmd2(made, real, self.kernel, self.estimator)
        return rooted(squared) if self.root else squared


class Moments(Matching):
    """Sum over orders of the squared gap between moments: means (1), and central ones of each feature.

    covariance: the squared gap between the covariance matrices, D x D, beside them.
    """

    def __init__(self, orders: Widths, covariance: bool, space: Space, weight: Weight):
        super().__init__(space, weight)
        if not orders and not covariance:
            raise ConfigError("objective.orders=[] without objective.covariance=true would match nothing")
        self.orders = list(orders)
        self.covariance = covariance

    def distance(self, made: Tensor, real: Tensor, turn: Turn) -> Tensor:
        gaps = [moment_gap(made, real, order) for order in self.orders]
        return torch.stack([*gaps, *([covariance_gap(made, real)] if self.covariance else [])]).sum()


class SlicedWasserstein(Matching):
    """W_p^p on random lines, redrawn in each turn (Deshpande, Zhang & Schwing 2018)."""

    def __init__(self, projections: Count, p: Literal[1, 2], space: Space, weight: Weight):
        super().__init__(space, weight)
        self.projections, self.p = projections, p

    def distance(self, made: Tensor, real: Tensor, turn: Turn) -> Tensor:
        directions = turn.random.common("projections", self.projections, made.shape[1]).to(made.dtype)
        return sliced_wasserstein(made, real, normalize(directions), self.p)


def check_estimator(estimator: OfBatches, root: bool) -> None:
    if root and estimator != "biased":
        raise ConfigError(
            f"objective.root=true needs objective.estimator=biased: the {estimator} estimate can be negative"
        )


def rooted(squared: Tensor) -> Tensor:
    """The root of a squared distance that rounding may have made negative; it has no slope at zero."""
    return squared.clamp_min(1e-12).sqrt()
