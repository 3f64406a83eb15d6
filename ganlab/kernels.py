"""Kernels: (x [N, D], y [M, D]) -> [N, M]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from ganlab.errors import Refused

Kernel = Callable[[Tensor, Tensor], Tensor]


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2, [N, M], by one matrix product: memory grows as N M, never N M D."""
    squares = x.square().sum(1, keepdim=True) + y.square().sum(1)  # [N, M]
    return torch.addmm(squares, x, y.T, alpha=-2).clamp_min(0)


class GaussianMixture:
    """Sum over widths of exp(-|x - y|^2 / (2 v)), where v is the width or its square.

    The released code of GMMN (Li, Swersky & Zemel 2015) divides by 2 sigma, so its widths are
    variances; MMD-GAN (Li et al. 2017) divides by 2 sigma^2, so its widths are deviations.
    """

    def __init__(self, widths: Sequence[float], width_is: Literal["variance", "std"]):
        if not widths or min(widths) <= 0:
            raise Refused(f"kernel.widths={list(widths)} must be positive numbers")
        if width_is not in ("variance", "std"):
            raise Refused(f"kernel.width_is={width_is} must be variance or std")
        self.variances = [width if width_is == "variance" else width**2 for width in widths]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        distances = squared_distances(x, y)
        return sum(torch.exp(distances / (-2 * v)) for v in self.variances)  # type: ignore[return-value]
