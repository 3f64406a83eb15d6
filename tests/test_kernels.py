"""Kernels, compared with formulas of two vectors, and their sums over pairs with loops."""

import math

import pytest
import torch
from torch import Tensor

from ganlab.functional.distances import mmd2
from ganlab.functional.kernels import (
    Energy,
    GaussianMixture,
    Laplacian,
    Linear,
    Polynomial,
    Radial,
    RationalQuadratic,
    squared_distances,
)

Vector = list[float]


def gap(x: Vector, y: Vector) -> float:
    return math.dist(x, y)


def dot(x: Vector, y: Vector) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True))


CASES = {
    "variance": (
        GaussianMixture([0.5, 2.0], "variance"),
        lambda x, y: sum(math.exp(-(gap(x, y) ** 2) / (2 * v)) for v in (0.5, 2.0)),
    ),
    "std": (
        GaussianMixture([0.5, 3.0], "std"),
        lambda x, y: sum(math.exp(-((gap(x, y) / s) ** 2) / 2) for s in (0.5, 3.0)),
    ),
    "rational quadratic": (
        RationalQuadratic([0.2, 1, 5]),
        lambda x, y: sum((1 + gap(x, y) ** 2 / (2 * a)) ** -a for a in (0.2, 1, 5)),
    ),
    "laplacian": (
        Laplacian([0.7, 2]),
        lambda x, y: sum(math.exp(-gap(x, y) / w) for w in (0.7, 2)),
    ),
    "energy": (Energy(), lambda x, y: -gap(x, y)),
    "polynomial": (Polynomial(3, 1.0), lambda x, y: (dot(x, y) / 3 + 1) ** 3),
    "linear": (Linear(), dot),
}
RADIAL = [name for name, (kernel, _) in CASES.items() if isinstance(kernel, Radial)]


def samples(*, n: int = 5, m: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return x, torch.randn(m, 3, generator=generator, dtype=torch.float64) + 1


def loop(name: str, x: Tensor, y: Tensor) -> Tensor:
    return torch.tensor([[CASES[name][1](a, b) for b in y.tolist()] for a in x.tolist()]).double()


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_is_its_formula(name: str) -> None:
    kernel, (x, y) = CASES[name][0], samples()
    expected = loop(name, x, y)
    assert torch.allclose(kernel(x, y), expected, rtol=1e-6)
    assert torch.allclose(kernel.diagonal(x, y[:5]), expected.diagonal(), rtol=1e-6)
    assert torch.allclose(kernel.matrix_sum(x, y), expected.sum(), rtol=1e-6)
    within = loop(name, x, x)
    assert torch.allclose(kernel.off_diagonal_sum(x), within.sum() - within.diagonal().sum(), rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_sums_over_pairs_have_their_first_and_second_derivatives(name: str) -> None:
    kernel, (x, y) = CASES[name][0], samples(n=3, m=4)
    x.requires_grad_()
    y.requires_grad_()
    for function, given in (
        (kernel.matrix_sum, (x, y)),
        (kernel.off_diagonal_sum, (x,)),
        (kernel.diagonal, (x, y[:3])),
    ):
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)


@pytest.mark.parametrize("kernel", [Energy(), Laplacian([3.0, 8.0])])
def test_a_differentiated_slope_loses_no_digits_to_the_zero_distance_of_a_sample_to_itself(
    kernel: Radial,
) -> None:
    exact = torch.randn(32, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for x in (exact.requires_grad_(), exact.detach().float().requires_grad_()):
        (slope,) = torch.autograd.grad(kernel.off_diagonal_sum(x), x, create_graph=True)
        (second,) = torch.autograd.grad(slope.square().sum(), x)
        (plain,) = torch.autograd.grad(kernel.off_diagonal_sum(x), x)
        assert torch.equal(slope, plain)
        found.append((slope.detach().double(), second.double()))
    for mine, theirs in zip(found[1], found[0], strict=True):
        assert (mine - theirs).abs().max() < 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("name", RADIAL)
def test_a_slope_is_the_derivative_of_the_value(name: str) -> None:
    kernel = CASES[name][0]
    squared = torch.tensor([0.01, 0.3, 2.0, 7.0], dtype=torch.float64, requires_grad=True)
    value, slope = kernel.value_and_slope(squared.detach())
    (expected,) = torch.autograd.grad(kernel.value(squared).sum(), squared)
    assert torch.allclose(slope, expected)
    assert torch.allclose(kernel.slope(squared), expected)
    assert torch.allclose(value, kernel.value(squared))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_equal_and_far_samples_stay_finite(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[0.0, 0, 0], [0, 0, 0], [1e3, 1e3, 1e3]], dtype=dtype, requires_grad=True)
    distance = mmd2(x, x.detach() + 1, CASES[name][0], "biased") + CASES[name][0](x, x).sum()
    (slope,) = torch.autograd.grad(distance, x, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), x)
    assert distance.isfinite()
    assert slope.isfinite().all()
    assert second.isfinite().all()


def test_an_offset_of_all_samples_costs_no_precision() -> None:
    x, y = samples()
    expected = mmd2(x, y, Energy(), "biased")
    found = mmd2(x.float() + 1000, y.float() + 1000, Energy(), "biased")
    assert float(found) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("grad_of_y", [False, True])
def test_one_matrix_of_pairs_is_saved_for_a_gradient(grad_of_y: bool) -> None:
    x, y = torch.randn(40, 3, requires_grad=True), torch.randn(50, 3, requires_grad=grad_of_y)
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        mmd2(x, y, GaussianMixture([2, 5, 10, 20, 40, 80], "variance"), "biased")
    large = sorted(size for size in saved if size > 40 * 3 and size not in (50 * 3,))
    assert large == [40 * 40, 40 * 50] + [50 * 50] * grad_of_y


class Counting(Energy):
    slopes = 0

    def value_and_slope(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        self.slopes += 1
        return super().value_and_slope(squared)


def test_no_slope_between_two_samples_without_gradients_is_computed() -> None:
    kernel, (x, y) = Counting(), samples()
    mmd2(x.requires_grad_(), y, kernel, "biased")
    assert kernel.slopes == 2
    mmd2(x, y.requires_grad_(), kernel, "biased")
    assert kernel.slopes == 5


def test_a_std_is_the_root_of_a_variance() -> None:
    x, y = torch.randn(4, 2), torch.randn(5, 2)
    assert torch.allclose(GaussianMixture([3.0], "std")(x, y), GaussianMixture([9.0], "variance")(x, y))


def test_squared_distances() -> None:
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    assert torch.allclose(squared_distances(x, y), torch.cdist(x, y).square())
