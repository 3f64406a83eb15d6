"""Distances between two sets of samples, as functions for losses and metrics."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, require
from ganlab.functional.kernels import Kernel, squared_distances

Estimator = Literal["biased", "unbiased", "u_statistic", "linear"]


def mmd2(x: Tensor, y: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """The squared maximum mean discrepancy of x [N, D] and y [M, D], a scalar (Gretton et al. 2012).

    No gradient is computed for k(y, y) if y needs none.

    Args:
        estimator: "biased" is the V-statistic (equation 5), which is never negative. "unbiased" has the least
            variance (equation 3) and mean zero at P = Q, so it is often negative there. "u_statistic" is the
            same without the pairs (x_i, y_i) (equation 4); N = M. "linear" is the mean over disjoint pairs of
            samples (lemma 14): unbiased, with more variance but O(N) evaluations of the kernel; N = M, and
            the last sample of an odd number is not used.

    Raises:
        ConfigError: fewer than two samples, except for "biased"; or N is not M for the last two.
    """
    if estimator == "linear":
        return _linear_time(x, y, kernel)
    cross = kernel.matrix_sum(x, y) / (len(x) * len(y))
    if estimator == "u_statistic":
        require_equal_sizes(x, y, "the U-statistic")
        cross = (kernel.matrix_sum(x, y) - kernel.diagonal(x, y).sum()) / (len(x) * (len(x) - 1))
    return _mean_within(x, kernel, estimator) + _mean_within(y, kernel, estimator) - 2 * cross


def _mean_within(x: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """The mean of k(x_i, x_j), without i = j if it has to be unbiased."""
    n = len(x)
    if estimator == "biased":
        return (kernel.off_diagonal_sum(x) + kernel.diagonal(x, x).sum()) / n**2
    require_two(n, "an unbiased estimate")
    return kernel.off_diagonal_sum(x) / (n * (n - 1))


def _linear_time(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    require_equal_sizes(x, y, "the linear-time estimate")
    require_two(len(x), "the linear-time estimate")
    end = len(x) // 2 * 2
    x0, x1, y0, y1 = x[0:end:2], x[1:end:2], y[0:end:2], y[1:end:2]
    within = kernel.diagonal(x0, x1) + kernel.diagonal(y0, y1)
    return (within - kernel.diagonal(x0, y1) - kernel.diagonal(x1, y0)).mean()


@torch.no_grad()
def median_distance(x: Tensor) -> Tensor:
    """The median of |x_i - x_j| over i < j, a scalar; the lower one of two middle values.

    Raises:
        ConfigError: fewer than two samples, or more than half of the pairs are equal.
    """
    require_two(len(x), "a median of distances")
    squared = squared_distances(x - x.mean(0), x - x.mean(0))
    median = squared[torch.ones_like(squared, dtype=torch.bool).triu(1)].median().sqrt()
    require(median != 0, "", UNSET, "the median distance of the samples is 0", "set the widths in data units")
    return median


def moment_gap(x: Tensor, y: Tensor, order: int) -> Tensor:
    """|m(x) - m(y)|^2 for the means of x [N, D] and y [M, D] (order 1) or their central moments; a scalar."""
    return (moment(x, order) - moment(y, order)).square().sum()


def moment(x: Tensor, order: int) -> Tensor:
    """The mean of each feature, or E (x - E x)^order, [D]."""
    mean = x.mean(0)
    return mean if order == 1 else (x - mean).pow(order).mean(0)


def covariance_gap(x: Tensor, y: Tensor) -> Tensor:
    """|Cov x - Cov y|^2 in the Frobenius norm, a scalar, of covariances with division by N."""
    return (covariance(x) - covariance(y)).square().sum()


def covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)  # [D, D]


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor, p: int) -> Tensor:
    """The mean over directions [K, D] of W_p^p between the projections of x and y, both [N, D]; a scalar.

    On a line the optimal plan pairs the samples by rank (Bonneel et al. 2015, section 3.1).

    Raises:
        ConfigError: x and y have different sizes.
    """
    require_equal_sizes(x, y, "the sliced Wasserstein distance")
    gaps = (directions @ x.T).sort(1).values - (directions @ y.T).sort(1).values  # [K, N]
    return gaps.abs().pow(p).mean()


def require_equal_sizes(x: Tensor, y: Tensor, user: str) -> None:
    reason = f"{user} needs as many samples on both sides, not {len(x)} and {len(y)}"
    require(len(x) == len(y), "", UNSET, reason)


def require_two(n: int, user: str) -> None:
    require(n >= 2, "data.batch_size", n, f"{user} needs at least two samples")
