"""Differentiable distances between two sets of samples, for losses and metrics."""

from typing import Literal

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.functional.kernels import Kernel, squared_distances

Estimator = Literal["biased", "unbiased", "u_statistic", "linear"]
BatchEstimator = Literal["biased", "unbiased", "linear"]  # for losses on batches


def mmd2(x: Tensor, y: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """The squared maximum mean discrepancy: x [N, D] and y [M, D] -> a scalar (Gretton et al. 2012).

    No gradient is computed for k(y, y) if y needs none.

    Args:
        estimator: one of
            "biased": the V-statistic (equation 5), which is never negative;
            "unbiased": the unbiased estimate of minimum variance (equation 3). If x and y have the same
            distribution, its mean is 0, so it is often negative;
            "u_statistic": the unbiased estimate without the pairs (x_i, y_i) (equation 4). It needs N = M;
            "linear": the mean over disjoint pairs of samples (lemma 14). It is unbiased, with a higher
            variance but only O(N) evaluations of the kernel. It needs N = M; the last sample of an odd number
            is not used.

    Raises:
        ConfigError: N or M is less than 2, and the estimator is not "biased"; or N and M differ, and the
            estimator needs equal sizes.
    """
    if estimator == "linear":
        return _linear_time_mmd2(x, y, kernel)
    if estimator == "u_statistic":
        require_equal_sizes(x, y, "the U-statistic")
        cross = (kernel.matrix_sum(x, y) - kernel.diagonal(x, y).sum()) / (len(x) * (len(x) - 1))
    else:
        cross = kernel.matrix_sum(x, y) / (len(x) * len(y))
    return _mean_within(x, kernel, estimator) + _mean_within(y, kernel, estimator) - 2 * cross


def mmd2_interval(x: Tensor, y: Tensor, kernel: Kernel, n: int, seed: int) -> tuple[float, float]:
    """An interval of 95 % of the unbiased squared MMD, from n resamplings of x [N, D] and y [M, D].

    A resampling weights each sample by how often it is drawn. Pairs of a sample with itself are left out, or
    they would make the estimate too large.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(size: int) -> Tensor:
        rows = torch.randint(size, (n, size), generator=generator)
        return torch.stack([row.bincount(minlength=size) for row in rows]).to(x.dtype)  # [n, size]

    weights, other_weights = draw(len(x)), draw(len(y))
    estimates = -2 * ((weights @ kernel(x, y)) * other_weights).sum(1) / (len(x) * len(y))
    for points, w in ((x, weights), (y, other_weights)):
        within = kernel(points, points).fill_diagonal_(0)
        estimates += ((w @ within) * w).sum(1) / (w.sum(1).square() - w.square().sum(1))
    low, high = estimates.quantile(torch.tensor([0.025, 0.975], dtype=x.dtype)).tolist()
    return low, high


def _mean_within(x: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """The mean of k(x_i, x_j): over all i, j for the biased estimator, otherwise over i != j."""
    n = len(x)
    if estimator == "biased":
        return (kernel.off_diagonal_sum(x) + kernel.diagonal(x, x).sum()) / n**2
    require_two_samples(n, "an unbiased estimate")
    return kernel.off_diagonal_sum(x) / (n * (n - 1))


def _linear_time_mmd2(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    require_equal_sizes(x, y, "the linear-time estimate")
    require_two_samples(len(x), "the linear-time estimate")
    end = len(x) // 2 * 2  # without the last sample of an odd number
    # Two successive samples are a pair: x0 and y0 are the first samples of all pairs, x1 and y1 the second.
    x0, x1, y0, y1 = x[0:end:2], x[1:end:2], y[0:end:2], y[1:end:2]
    within = kernel.diagonal(x0, x1) + kernel.diagonal(y0, y1)
    return (within - kernel.diagonal(x0, y1) - kernel.diagonal(x1, y0)).mean()


class MMDEstimator:
    """An estimator of the squared MMD as in `mmd2`, or of its root: x [N, D] and y [N, D] -> a scalar.

    Args:
        take_root: whether the square root is taken: the setting `root` of an objective.

    Raises:
        ConfigError: the root is taken of an estimate that can be negative.
    """

    def __init__(self, kernel: Kernel, estimator: BatchEstimator, *, take_root: bool):
        # The message begins with the setting: "root=true: cannot be taken of ...".
        reason = f"cannot be taken of the {estimator} estimate, which can be negative"
        can_compute = estimator == "biased" or not take_root
        require(can_compute, reason, "choose the biased estimator", ".root", take_root)
        self.kernel, self.estimator, self.take_root = kernel, estimator, take_root

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        squared = mmd2(x, y, self.kernel, self.estimator)
        # Clamped, because the estimate may be negative by rounding, and the root has no finite slope at 0.
        return squared.clamp_min(1e-12).sqrt() if self.take_root else squared


@torch.no_grad()
def median_distance(x: Tensor) -> Tensor:
    """The median of |x_i - x_j| over i < j, a scalar; of an even number of pairs, the lower middle value.

    Raises:
        ConfigError: there are fewer than two samples, or at least half of the pairs are equal.
    """
    require_two_samples(len(x), "a median of distances")
    centred = x - x.mean(0)  # for less rounding error
    squared = squared_distances(centred, centred)
    above_diagonal = torch.ones_like(squared, dtype=torch.bool).triu(1)  # the pairs with i < j
    median = squared[above_diagonal].median().sqrt()
    require(median != 0, "the median distance of the samples is 0", "set the kernel's widths in data units")
    return median


def moment(x: Tensor, order: int) -> Tensor:
    """The mean of each feature for order 1, otherwise the central moment E (x - E x)^order: [N, D] -> [D]."""
    mean = x.mean(0)
    return mean if order == 1 else (x - mean).pow(order).mean(0)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor, p: int) -> Tensor:
    """The sliced Wasserstein distance to the power p: x, y [N, D], directions [K, D] -> a scalar.

    It is the mean over K directions of W_p^p between the projections of x and y onto the direction. On a
    line, the optimal transport plan pairs samples of equal rank (Bonneel et al. 2015, section 3.1).

    Raises:
        ConfigError: x and y have different sizes.
    """
    require_equal_sizes(x, y, "the sliced Wasserstein distance")
    gaps = (directions @ x.T).sort(1).values - (directions @ y.T).sort(1).values  # [K, N]
    return gaps.abs().pow(p).mean()


def require_equal_sizes(x: Tensor, y: Tensor, estimate: str) -> None:
    """Raises `ConfigError` if x and y have different numbers of samples; the message names the estimate."""
    require(len(x) == len(y), f"{estimate} needs as many samples on both sides, not {len(x)} and {len(y)}")


def require_two_samples(n: int, estimate: str) -> None:
    """Raises `ConfigError` if there are fewer than two samples; the message names the estimate.

    It also names `data.batch_size`, because metrics refuse such a number of samples themselves.
    """
    require(n >= 2, f"{estimate} needs at least two samples", key="data.batch_size", value=n)
