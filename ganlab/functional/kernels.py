"""Kernels k(x, y), whose form and width determine which differences a kernel distance detects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from ganlab.core.validation import Count, NotNegative, Positive

LOWEST = -80.0  # least exponent: denormal results of exp would take thirty times as long
TINY = 1e-30  # squared distance below which two samples count as equal
Scales = Annotated[Sequence[Positive], 1]


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2, [N, M], by one matrix product, so memory grows with N M instead of N M D."""
    squares = x.square().sum(1, keepdim=True) + y.square().sum(1)  # [N, M]
    return torch.addmm(squares, x, y.T, alpha=-2).clamp_min(0)


class Kernel(ABC):
    """Base class of kernels that are positive definite, or conditionally so, like the negative distance."""

    has_scale: ClassVar[bool] = True  # False: rescaled samples only rescale the sums

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_j), [N, M]."""

    @abstractmethod
    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_i), [N], in N evaluations."""

    @abstractmethod
    def matrix_sum(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum over all i, j of k(x_i, y_j), a scalar."""

    @abstractmethod
    def off_diagonal_sum(self, x: Tensor) -> Tensor:
        """The sum over i != j of k(x_i, x_j), a scalar."""


class Radial(Kernel):
    """Base class of functions of the squared distance, s -> value(s), with their derivatives slope(s)."""

    @abstractmethod
    def value(self, squared: Tensor) -> Tensor: ...

    @abstractmethod
    def slope(self, squared: Tensor) -> Tensor:
        """d value / d s; 0 at s = 0 if it is undefined there, since x_i - x_i has no direction."""

    def value_and_slope(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        """Both, possibly faster than one by one, and without a graph."""
        return self.value(squared), self.slope(squared)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.value(squared_distances(x, y))

    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        return self.value((x - y).square().sum(1))

    def matrix_sum(self, x: Tensor, y: Tensor) -> Tensor:
        # Distances do not depend on the origin, and rounding is least if it is the samples' mean.
        centre = y.detach().mean(0)
        return MatrixSum.apply(x - centre, y - centre, self)

    def off_diagonal_sum(self, x: Tensor) -> Tensor:
        return OffDiagonalSum.apply(x - x.detach().mean(0), self)


class MatrixSum(torch.autograd.Function):
    """The sum over i, j of value(|x_i - y_j|^2).

    Its gradient at x_i is the sum over j of 2 slope_ij (x_i - y_j), for which one matrix of slopes is saved,
    however many terms the kernel has. Second derivatives recompute the slopes with a graph.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: Radial) -> Tensor:
        ctx.kernel = kernel
        return sum_and_save(ctx, squared_distances(x, y), x, y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, y, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = ctx.kernel.slope(squared_distances(x, y))
        at_x = at_y = None
        if ctx.needs_input_grad[0]:
            at_x = 2 * gradients[0] * (slope.sum(1, keepdim=True) * x - slope @ y)
        if ctx.needs_input_grad[1]:
            at_y = 2 * gradients[0] * (slope.sum(0).unsqueeze(1) * y - slope.T @ x)
        return at_x, at_y, None


class OffDiagonalSum(torch.autograd.Function):
    """The sum over i != j of value(|x_i - x_j|^2), saved and differentiated in the same way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Radial) -> Tensor:
        ctx.kernel = kernel
        diagonal = len(x) * kernel.value(x.new_zeros(()))
        return sum_and_save(ctx, squared_distances(x, x).fill_diagonal_(0), x) - diagonal

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = ctx.kernel.slope(squared_distances(x, x).fill_diagonal_(0))
        return 4 * gradients[0] * (slope.sum(1, keepdim=True) * x - slope @ x), None


def sum_and_save(ctx: Any, squared: Tensor, *samples: Tensor) -> Tensor:
    """The sum of the kernel's values; saves samples and slopes if a gradient is needed."""
    if not any(ctx.needs_input_grad):
        return ctx.kernel.value(squared).sum()
    value, slope = ctx.kernel.value_and_slope(squared)
    ctx.save_for_backward(*samples, slope)
    return value.sum()


class Linear(Kernel):
    """x . y, whose distance is that of the means."""

    has_scale = False

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y.T

    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(1)

    def matrix_sum(self, x: Tensor, y: Tensor) -> Tensor:
        return x.sum(0) @ y.sum(0)

    def off_diagonal_sum(self, x: Tensor) -> Tensor:
        return x.sum(0).square().sum() - x.square().sum()


class Polynomial(Kernel):
    """(x . y / D + offset)^degree; degree 3 and offset 1 are those of KID (Binkowski et al. 2018)."""

    def __init__(self, degree: Count, offset: NotNegative):
        self.degree, self.offset = degree, offset

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + self.offset) ** self.degree

    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x * y).mean(1) + self.offset) ** self.degree

    def matrix_sum(self, x: Tensor, y: Tensor) -> Tensor:
        return self(x, y).sum()

    def off_diagonal_sum(self, x: Tensor) -> Tensor:
        return self(x, x).sum() - self.diagonal(x, x).sum()


class GaussianMixture(Radial):
    """The sum over widths of exp(-|x - y|^2 / (2 v)), where v is the width or its square.

    Args:
        width_is: "variance" in the released code of GMMN (Li, Swersky & Zemel 2015), "std" in MMD-GAN (Li et
            al. 2017).
    """

    def __init__(self, widths: Scales, width_is: Literal["variance", "std"]):
        self.rates = [1 / (2 * (w if width_is == "variance" else w**2)) for w in widths]

    def value(self, squared: Tensor) -> Tensor:
        return add_all(decay(-rate * squared) for rate in self.rates)

    def slope(self, squared: Tensor) -> Tensor:
        return add_all(-rate * decay(-rate * squared) for rate in self.rates)

    def value_and_slope(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        value, slope, bump = torch.zeros_like(squared), torch.zeros_like(squared), torch.empty_like(squared)
        for rate in self.rates:
            torch.mul(squared, -rate, out=bump).clamp_min_(LOWEST).exp_()
            value += bump
            slope.sub_(bump, alpha=rate)
        return value, slope


class RationalQuadratic(Radial):
    """The sum over alphas of (1 + |x - y|^2 / (2 alpha))^-alpha (Binkowski et al. 2018, section 2.1)."""

    def __init__(self, alphas: Scales):
        self.alphas = alphas

    def value(self, squared: Tensor) -> Tensor:
        return add_all((1 + squared / (2 * a)) ** -a for a in self.alphas)

    def slope(self, squared: Tensor) -> Tensor:
        return add_all(-0.5 * (1 + squared / (2 * a)) ** (-a - 1) for a in self.alphas)


class Laplacian(Radial):
    """The sum over widths of exp(-|x - y| / width), in the Euclidean norm."""

    def __init__(self, widths: Scales):
        self.widths = widths

    def value(self, squared: Tensor) -> Tensor:
        distances = root(squared)
        return add_all(decay(-distances / w) for w in self.widths)

    def slope(self, squared: Tensor) -> Tensor:
        distances = root(squared)
        return add_all(decay(-distances / w) / (-2 * w) for w in self.widths) * inverse(distances)


class Energy(Radial):
    """-|x - y|, whose squared distance is the energy distance 2 E|x - y| - E|x - x'| - E|y - y'|.

    Szekely & Rizzo 2013, definition 2.1. The kernel is conditionally positive definite, so the biased
    estimate is never negative and has a root.
    """

    has_scale = False

    def value(self, squared: Tensor) -> Tensor:
        return -root(squared)

    def slope(self, squared: Tensor) -> Tensor:
        return -0.5 * inverse(root(squared))


def decay(exponent: Tensor) -> Tensor:
    """exp of an exponent of at most 0; constant below exp(-80) = 2e-35."""
    return exponent.clamp_min(LOWEST).exp()


def root(squared: Tensor) -> Tensor:
    """The distance, with slope 0 at 0, where it has none."""
    return squared.clamp_min(TINY).sqrt()


def inverse(distances: Tensor) -> Tensor:
    """1 / distance, and 0 at 0."""
    return torch.where(distances.square() > 2 * TINY, 1 / distances, 0.0)


def add_all(terms: Iterable[Tensor]) -> Tensor:
    """The sum from left to right, without the zero that `sum` starts from."""
    return reduce(torch.add, terms)
