"""Distances between two sets of samples: pure functions, for losses and metrics alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.functional.kernels import Kernel, squared_distances

Estimator = Literal["biased", "unbiased", "u_statistic", "linear"]


def mmd2(x: Tensor, y: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """Squared maximum mean discrepancy of x [N, D] and y [M, D], a scalar (Gretton et al. 2012).

    biased: the V-statistic, equation 5, never negative. unbiased: the minimum-variance one, equation 3, of
    mean zero at P = Q, so negative half of the time there. u_statistic: as that, but without the pairs (x_i,
    y_i), equation 4; N = M. linear: the mean over disjoint pairs of samples, lemma 14, unbiased too, in O(N)
    evaluations of the kernel and with more variance; N = M, and an odd last sample is left out. No gradient
    flows through k(y, y) where y needs none.

    Raises:
        ConfigError: fewer than two samples where the estimate is unbiased; unequal numbers for the last two.
    """
    if estimator == "linear":
        return _linear_time(x, y, kernel)
    cross = kernel.matrix_sum(x, y) / (len(x) * len(y))
    if estimator == "u_statistic":
        equal(x, y, "the U-statistic")
        cross = (kernel.matrix_sum(x, y) - kernel.diagonal(x, y).sum()) / (len(x) * (len(x) - 1))
    return _mean_within(x, kernel, estimator) + _mean_within(y, kernel, estimator) - 2 * cross


def _mean_within(x: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """Mean of k(x_i, x_j), without i = j where that must be unbiased."""
    n = len(x)
    if estimator == "biased":
        return (kernel.off_diagonal_sum(x) + kernel.diagonal(x, x).sum()) / n**2
    at_least_two(n, "an unbiased estimate")
    return kernel.off_diagonal_sum(x) / (n * (n - 1))


def _linear_time(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    equal(x, y, "the linear-time estimate")
    at_least_two(len(x), "the linear-time estimate")
    end = len(x) // 2 * 2
    x0, x1, y0, y1 = x[0:end:2], x[1:end:2], y[0:end:2], y[1:end:2]
    return (
        kernel.diagonal(x0, x1) + kernel.diagonal(y0, y1) - kernel.diagonal(x0, y1) - kernel.diagonal(x1, y0)
    ).mean()


@torch.no_grad()
def median_distance(x: Tensor) -> Tensor:
    """The median of |x_i - x_j| over i < j, a scalar; of an even number the lower middle one.

    Raises:
        ConfigError: fewer than two samples, or more than half of the pairs are alike.
    """
    at_least_two(len(x), "a median of distances")
    squared = squared_distances(x - x.mean(0), x - x.mean(0))
    later = torch.ones_like(squared, dtype=torch.bool).triu(1)
    median = squared[later].median().sqrt()
    if median == 0:
        raise ConfigError("the median distance of these samples is 0: give the widths themselves")
    return median


def moment_gap(x: Tensor, y: Tensor, order: int) -> Tensor:
    """|m(x) - m(y)|^2 for the means of x [N, D] and y [M, D] (order 1), or their central moments."""
    return (moment(x, order) - moment(y, order)).square().sum()


def moment(x: Tensor, order: int) -> Tensor:
    """The mean of each feature, or E (x - E x)^order, [D]."""
    mean = x.mean(0)
    return mean if order == 1 else (x - mean).pow(order).mean(0)


def covariance_gap(x: Tensor, y: Tensor) -> Tensor:
    """|Cov x - Cov y|^2 in the Frobenius norm, of covariances that divide by the number of samples."""
    return (covariance(x) - covariance(y)).square().sum()


def covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / len(x)  # [D, D]


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor, p: int) -> Tensor:
    """Mean over directions [K, D] of W_p^p between the projections of x and y, both [N, D], a scalar.

    On a line the optimal plan pairs the samples by rank (Bonneel et al. 2015, section 3.1).

    Raises:
        ConfigError: unequal numbers of samples.
    """
    equal(x, y, "the sliced Wasserstein distance")
    gaps = (directions @ x.T).sort(1).values - (directions @ y.T).sort(1).values  # [K, N]
    return gaps.abs().pow(p).mean()


def equal(x: Tensor, y: Tensor, what: str) -> None:
    if len(x) != len(y):
        raise ConfigError(f"{what} needs as many samples on both sides, not {len(x)} and {len(y)}")


def at_least_two(n: int, what: str) -> None:
    if n < 2:
        raise ConfigError(f"{what} needs data.batch_size of at least 2, not {n}")
