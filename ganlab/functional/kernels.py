"""Kernels k(x, y) for kernel distances. Their form and width determine which differences are detected."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import reduce
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ganlab.core.validation import Count, NonEmpty, NotNegative, Positive

# The smallest argument of exp. The results of smaller arguments are denormal, and take thirty times as long.
MIN_EXPONENT = -80.0
MIN_SQUARED_DISTANCE = 1e-30  # samples whose squared distance is smaller count as equal
Scales = NonEmpty[Positive]  # one positive number or more


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2: x [N, D] and y [M, D] -> [N, M].

    It is computed by one matrix product, so memory grows with N M instead of N M D.
    """
    squares = x.square().sum(1, keepdim=True) + y.square().sum(1)  # [N, M]
    return torch.addmm(squares, x, y.T, alpha=-2).clamp_min(0)


class Kernel(ABC):
    """Base class of kernels of samples x [N, D] and y [M, D] that are (conditionally) positive definite."""

    has_scale: ClassVar[bool] = True  # whether the kernel has a length scale, which has to suit the samples

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_j), [N, M]."""

    @abstractmethod
    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_i), [N], by N evaluations."""

    def matrix_sum(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum over all i, j of k(x_i, y_j), a scalar."""
        return self(x, y).sum()

    def off_diagonal_sum(self, x: Tensor) -> Tensor:
        """The sum over i != j of k(x_i, x_j), a scalar."""
        return self(x, x).sum() - self.diagonal(x, x).sum()


class Radial(Kernel):
    """Base class of radial kernels, which are functions of the squared distance s = |x - y|^2."""

    @abstractmethod
    def value(self, squared: Tensor) -> Tensor:
        """k for squared distances s, elementwise."""

    @abstractmethod
    def slope(self, squared: Tensor) -> Tensor:
        """The derivative d k / d s, elementwise; 0 at s = 0 if k has no derivative there."""

    def value_and_slope(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        """The value and the slope; a subclass may compute both together faster, without an autograd graph."""
        return self.value(squared), self.slope(squared)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.value(squared_distances(x, y))

    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        return self.value((x - y).square().sum(1))

    def matrix_sum(self, x: Tensor, y: Tensor) -> Tensor:
        # The origin is moved to a mean of samples, where rounding errors are smallest. The distances do
        # not depend on the origin.
        centre = y.detach().mean(0)
        return MatrixSum.apply(x - centre, y - centre, self)

    def off_diagonal_sum(self, x: Tensor) -> Tensor:
        return OffDiagonalSum.apply(x - x.detach().mean(0), self)


class MatrixSum(torch.autograd.Function):
    """The sum over i, j of k(x_i, y_j), with a backward pass that needs little memory.

    The gradient at x_i is the sum over j of 2 slope_ij (x_i - y_j), for which only the matrix of slopes is
    saved, however many terms the kernel has. For second derivatives the slopes are recomputed with a graph.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: Radial) -> Tensor:
        return sum_and_save(ctx, kernel, squared_distances(x, y), x, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, y, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = ctx.kernel.slope(squared_distances(x, y))
        needs_x, needs_y, _ = ctx.needs_input_grad
        gradient_x = 2 * gradient * (slope.sum(1, keepdim=True) * x - slope @ y) if needs_x else None
        gradient_y = 2 * gradient * (slope.sum(0).unsqueeze(1) * y - slope.T @ x) if needs_y else None
        return gradient_x, gradient_y, None


class OffDiagonalSum(torch.autograd.Function):
    """The sum over i != j of k(x_i, x_j), saved and differentiated like `MatrixSum`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Radial) -> Tensor:
        diagonal = len(x) * kernel.value(x.new_zeros(()))
        return sum_and_save(ctx, kernel, squared_distances(x, x).fill_diagonal_(0), x) - diagonal

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = ctx.kernel.slope(squared_distances(x, x).fill_diagonal_(0))
        # Twice the gradient in `MatrixSum`, because each sample is on both sides.
        return 4 * gradient * (slope.sum(1, keepdim=True) * x - slope @ x), None


def sum_and_save(ctx: Any, kernel: Radial, squared: Tensor, *samples: Tensor) -> Tensor:
    """The sum of k over squared distances; if a gradient is needed, saves in `ctx` what `backward` reads."""
    if not any(ctx.needs_input_grad):
        return kernel.value(squared).sum()
    ctx.kernel = kernel
    value, slope = kernel.value_and_slope(squared)
    ctx.save_for_backward(*samples, slope)
    return value.sum()


class Linear(Kernel):
    """x . y. The kernel distance of this kernel is the distance between the means."""

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
    """(x . y / D + offset)^degree. KID has degree 3 and offset 1 (Binkowski et al. 2018)."""

    def __init__(self, degree: Count, offset: NotNegative):
        self.degree, self.offset = degree, offset

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + self.offset) ** self.degree

    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x * y).mean(1) + self.offset) ** self.degree


class GaussianMixture(Radial):
    """The sum over widths of exp(-|x - y|^2 / (2 v)), where v is a variance.

    Args:
        width_is: "variance" if v is the width, as in the released code of GMMN (Li, Swersky & Zemel 2015);
            "std" if v is the square of the width, as in MMD-GAN (Li et al. 2017).
    """

    def __init__(self, widths: Scales, width_is: Literal["variance", "std"]):
        self.rates = [1 / (2 * (w if width_is == "variance" else w**2)) for w in widths]

    def value(self, squared: Tensor) -> Tensor:
        return add_all(clamped_exp(-rate * squared) for rate in self.rates)

    def slope(self, squared: Tensor) -> Tensor:
        return add_all(-rate * clamped_exp(-rate * squared) for rate in self.rates)

    def value_and_slope(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        # In place, because the matrices are large.
        value, slope, term = torch.zeros_like(squared), torch.zeros_like(squared), torch.empty_like(squared)
        for rate in self.rates:
            torch.mul(squared, -rate, out=term).clamp_min_(MIN_EXPONENT).exp_()
            value += term
            slope.sub_(term, alpha=rate)
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
        distance = safe_sqrt(squared)
        return add_all(clamped_exp(-distance / w) for w in self.widths)

    def slope(self, squared: Tensor) -> Tensor:
        distance = safe_sqrt(squared)
        return add_all(clamped_exp(-distance / w) / (-2 * w) for w in self.widths) * safe_reciprocal(distance)


class Energy(Radial):
    """-|x - y|. The squared kernel distance of this kernel is the energy distance.

    The energy distance is 2 E|x - y| - E|x - x'| - E|y - y'| (Szekely & Rizzo 2013, definition 2.1). The
    kernel is conditionally positive definite. So the biased estimate is never negative, and its square root
    can be taken.
    """

    has_scale = False

    def value(self, squared: Tensor) -> Tensor:
        return -safe_sqrt(squared)

    def slope(self, squared: Tensor) -> Tensor:
        return -0.5 * safe_reciprocal(safe_sqrt(squared))


def clamped_exp(exponent: Tensor) -> Tensor:
    """exp, elementwise, for exponents of at most 0. It is constant, 2e-35, for exponents below -80."""
    return exponent.clamp_min(MIN_EXPONENT).exp()


def safe_sqrt(squared: Tensor) -> Tensor:
    """Squared distances -> distances. At distance 0 the gradient is 0 instead of infinite."""
    return squared.clamp_min(MIN_SQUARED_DISTANCE).sqrt()


def safe_reciprocal(distances: Tensor) -> Tensor:
    """1 / distance, or 0 for the smallest distance that `safe_sqrt` returns, which stands for 0."""
    # The factor 2 allows for rounding errors of the square root.
    return torch.where(distances.square() > 2 * MIN_SQUARED_DISTANCE, 1 / distances, 0.0)


def add_all(terms: Iterable[Tensor]) -> Tensor:
    """The sum from left to right. Unlike `sum`, it does not start with an addition to 0."""
    return reduce(torch.add, terms)
