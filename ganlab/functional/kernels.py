"""Kernels k(x, y); which of them, and how wide, decides what a matched generator gets right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from ganlab.core.validation import Count, NotNegative, Positive


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2, [N, M], by one matrix product: memory grows as N M, never N M D."""
    squares = x.square().sum(1, keepdim=True) + y.square().sum(1)  # [N, M]
    return torch.addmm(squares, x, y.T, alpha=-2).clamp_min(0)


class Kernel(ABC):
    """Positive definite, or conditionally so, as minus a distance is: both make a distance of samples."""

    has_scale: ClassVar[bool] = True  # else other units of the samples change the units of its sums alone

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_j), [N, M]."""

    @abstractmethod
    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_i), [N], in N evaluations."""

    def matrix_sum(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum over all i, j of k(x_i, y_j), a scalar."""
        return self(x, y).sum()

    def off_diagonal_sum(self, x: Tensor) -> Tensor:
        """Sum over i != j of k(x_i, x_j), a scalar."""
        return self(x, x).sum() - self.diagonal(x, x).sum()


class Radial(Kernel):
    """A function of the squared distance, s -> value(s), with its derivative slope(s)."""

    @abstractmethod
    def value(self, squared: Tensor) -> Tensor: ...

    @abstractmethod
    def slope(self, squared: Tensor) -> Tensor:
        """d value / d s; 0 at s = 0 where there is none, since x_i - x_i has no direction."""

    def value_and_slope(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        """Both at once, where they share work; need not be differentiable."""
        return self.value(squared), self.slope(squared)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.value(squared_distances(x, y))

    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        return self.value((x - y).square().sum(1))

    def matrix_sum(self, x: Tensor, y: Tensor) -> Tensor:
        # Distances know no origin, and rounding is least at the samples' own.
        centre = y.detach().mean(0)
        return MatrixSum.apply(x - centre, y - centre, self)

    def off_diagonal_sum(self, x: Tensor) -> Tensor:
        return OffDiagonalSum.apply(x - x.detach().mean(0), self)


class MatrixSum(torch.autograd.Function):
    """Sum over i, j of value(|x_i - y_j|^2).

    Its gradient at x_i is sum over j of 2 slope_ij (x_i - y_j): one matrix of slopes is kept for it,
    however many terms the kernel has. Second derivatives go through the plain formula.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: Radial) -> Tensor:
        ctx.kernel = kernel
        return keep(ctx, squared_distances(x, y), x, y)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        x, y, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = ctx.kernel.slope(squared_distances(x, y))
        at_x = at_y = None
        if ctx.needs_input_grad[0]:
            at_x = 2 * slopes[0] * (slope.sum(1, keepdim=True) * x - slope @ y)
        if ctx.needs_input_grad[1]:
            at_y = 2 * slopes[0] * (slope.sum(0).unsqueeze(1) * y - slope.T @ x)
        return at_x, at_y, None


class OffDiagonalSum(torch.autograd.Function):
    """Sum over i != j of value(|x_i - x_j|^2); its gradient is twice that at the first place alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Radial) -> Tensor:
        ctx.kernel = kernel
        diagonal = len(x) * kernel.value(x.new_zeros(()))
        return keep(ctx, squared_distances(x, x).fill_diagonal_(0), x) - diagonal

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        x, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = ctx.kernel.slope(squared_distances(x, x).fill_diagonal_(0))
        return 4 * slopes[0] * (slope.sum(1, keepdim=True) * x - slope @ x), None


def keep(ctx: Any, squared: Tensor, *samples: Tensor) -> Tensor:
    """The sum of the kernel's values, with what a gradient will need; without slopes where none is wanted."""
    if not any(ctx.needs_input_grad):
        return ctx.kernel.value(squared).sum()
    value, slope = ctx.kernel.value_and_slope(squared)
    ctx.save_for_backward(*samples, slope)
    return value.sum()


LOWEST = -80.0  # exp of what is lower would leave the range of float32, and cost thirty times as much
Scales = Annotated[Sequence[Positive], 1]
TINY = 1e-30  # squared distance below which two samples are one


class Linear(Kernel):
    """x . y: its distance is that of the means."""

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


class GaussianMixture(Radial):
    """Sum over widths of exp(-|x - y|^2 / (2 v)), where v is the width or its square.

    The released code of GMMN (Li, Swersky & Zemel 2015) divides by 2 sigma, so its widths are
    variances; MMD-GAN (Li et al. 2017) divides by 2 sigma^2, so its widths are deviations.
    """

    def __init__(self, widths: Scales, width_is: Literal["variance", "std"]):
        self.rates = [1 / (2 * (w if width_is == "variance" else w**2)) for w in widths]

    def value(self, squared: Tensor) -> Tensor:
        return summed(decay(-rate * squared) for rate in self.rates)

    def slope(self, squared: Tensor) -> Tensor:
        return summed(-rate * decay(-rate * squared) for rate in self.rates)

    def value_and_slope(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        value, slope, bump = torch.zeros_like(squared), torch.zeros_like(squared), torch.empty_like(squared)
        for rate in self.rates:
            torch.mul(squared, -rate, out=bump).clamp_min_(LOWEST).exp_()
            value += bump
            slope.sub_(bump, alpha=rate)
        return value, slope


class RationalQuadratic(Radial):
    """Sum over alphas of (1 + |x - y|^2 / (2 alpha))^-alpha (Binkowski et al. 2018, section 2.1)."""

    def __init__(self, alphas: Scales):
        self.alphas = alphas

    def value(self, squared: Tensor) -> Tensor:
        return summed((1 + squared / (2 * a)) ** -a for a in self.alphas)

    def slope(self, squared: Tensor) -> Tensor:
        return summed(-0.5 * (1 + squared / (2 * a)) ** (-a - 1) for a in self.alphas)


class Laplacian(Radial):
    """Sum over widths of exp(-|x - y| / width), in the Euclidean norm."""

    def __init__(self, widths: Scales):
        self.widths = widths

    def value(self, squared: Tensor) -> Tensor:
        distances = root(squared)
        return summed(decay(-distances / w) for w in self.widths)

    def slope(self, squared: Tensor) -> Tensor:
        distances = root(squared)
        return summed(decay(-distances / w) / (-2 * w) for w in self.widths) * inverse(distances)


class Energy(Radial):
    """-|x - y|: the squared distance is then the energy distance 2 E|x - y| - E|x - x'| - E|y - y'|.

    Szekely & Rizzo 2013, definition 2.1. Conditionally positive definite: the biased estimate is never
    negative and has a root, as with the others.
    """

    has_scale = False

    def value(self, squared: Tensor) -> Tensor:
        return -root(squared)

    def slope(self, squared: Tensor) -> Tensor:
        return -0.5 * inverse(root(squared))


def decay(exponent: Tensor) -> Tensor:
    """exp of what is not positive; below exp(-80) = 2e-35 constant."""
    return exponent.clamp_min(LOWEST).exp()


def root(squared: Tensor) -> Tensor:
    """The distance, with slope 0 at 0, where it has none."""
    return squared.clamp_min(TINY).sqrt()


def inverse(distances: Tensor) -> Tensor:
    """1 / distance, and 0 at 0."""
    return torch.where(distances.square() > 2 * TINY, 1 / distances, 0.0)


def summed(terms: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, terms)
