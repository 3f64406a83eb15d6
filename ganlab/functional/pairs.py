"""What a kernel is, and its sums over all pairs of two samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor


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
    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_i), [N], in N evaluations."""

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum over all i, j of k(x_i, y_j), a scalar."""
        return self(x, y).sum()

    def total_within(self, x: Tensor) -> Tensor:
        """Sum over i != j of k(x_i, x_j), a scalar."""
        return self(x, x).sum() - self.paired(x, x).sum()


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

    def paired(self, x: Tensor, y: Tensor) -> Tensor:
        return self.value((x - y).square().sum(1))

    def total(self, x: Tensor, y: Tensor) -> Tensor:
        # Distances know no origin, and rounding is least at the samples' own.
        centre = y.detach().mean(0)
        return Total.apply(x - centre, y - centre, self)

    def total_within(self, x: Tensor) -> Tensor:
        return TotalWithin.apply(x - x.detach().mean(0), self)


class Total(torch.autograd.Function):
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


class TotalWithin(torch.autograd.Function):
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
