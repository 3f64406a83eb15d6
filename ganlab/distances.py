"""Distances between two sets of samples: pure functions, for losses and metrics alike."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ganlab.errors import Refused
from ganlab.kernels import Kernel

Estimator = Literal["biased", "unbiased"]


def mmd2(x: Tensor, y: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """Squared maximum mean discrepancy of x [N, D] and y [M, D], a scalar (Gretton et al. 2012).

    biased: the V-statistic, equation 5, never negative. unbiased: the U-statistic, equation 3, of
    mean zero at P = Q, so negative half of the time there. No gradient flows through k(y, y) where y
    needs none.
    """
    return _mean(kernel(x, x), estimator) + _mean(kernel(y, y), estimator) - 2 * kernel(x, y).mean()


def _mean(gram: Tensor, estimator: Estimator) -> Tensor:
    """Mean of k(x_i, x_j), without the diagonal where that must be unbiased."""
    if estimator == "biased":
        return gram.mean()
    n = len(gram)
    if n < 2:
        raise Refused("an unbiased estimate needs data.batch_size of at least 2")
    return (gram.sum() - gram.diagonal().sum()) / (n * (n - 1))
