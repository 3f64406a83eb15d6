"""Distances, compared with loops and other libraries, and in expectation with closed forms."""

import math
from itertools import combinations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from support.refusals import refuses
from torch import Tensor

from ganlab.functional.distances import median_distance, mmd2, moment, sliced_wasserstein
from ganlab.functional.kernels import (
    Energy,
    GaussianMixture,
    Kernel,
    Laplacian,
    Linear,
    Polynomial,
    RationalQuadratic,
)
from ganlab.objectives.matching import Moments
from ganlab.objectives.spaces import Pixels

KERNELS = [
    GaussianMixture([0.5, 2.0], "variance"),
    RationalQuadratic([0.2, 1]),
    Laplacian([1.0]),
    Energy(),
    Polynomial(3, 1.0),
    Linear(),
]
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)


def samples(n: int, m: int, dim: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return x, 0.5 * torch.randn(m, dim, generator=generator, dtype=torch.float64) + 1


@each_kernel
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_mmd_is_that_of_a_loop(kernel: Kernel, estimator: str) -> None:
    x, y = samples(5, 7)

    def k(a: Tensor, b: Tensor) -> float:
        return float(kernel(a[None], b[None]))

    def mean(z: Tensor) -> float:
        pairs = [
            k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if estimator == "biased" or i != j
        ]
        return sum(pairs) / len(pairs)

    expected = mean(x) + mean(y) - 2 * sum(k(a, b) for a in x for b in y) / 35
    assert float(mmd2(x, y, kernel, estimator)) == pytest.approx(expected, rel=1e-6)


class Rowwise(GaussianMixture):
    """A kernel that counts its evaluations, and refuses to compute a matrix of them."""

    evaluated = 0

    def diagonal(self, x: Tensor, y: Tensor) -> Tensor:
        self.evaluated += len(x)
        return super().diagonal(x, y)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        raise AssertionError("the linear-time estimate computes a matrix")

    matrix_sum = off_diagonal_sum = __call__


def test_the_linear_time_estimate_is_that_of_a_loop_over_disjoint_pairs() -> None:
    x, y = samples(9, 9)
    kernel = Rowwise([1.5], "variance")

    def k(a: Tensor, b: Tensor) -> float:
        return math.exp(-float((a - b).square().sum()) / 3)

    terms = [
        k(x[i], x[i + 1]) + k(y[i], y[i + 1]) - k(x[i], y[i + 1]) - k(x[i + 1], y[i]) for i in (0, 2, 4, 6)
    ]
    assert float(mmd2(x, y, kernel, "linear")) == pytest.approx(sum(terms) / 4)
    assert kernel.evaluated == 16


SHIFT, STD = 1.0, 0.8


def gaussian_mmd2(shift: float) -> float:
    """For N(m, s^2) on a line E k(x, y) = sqrt(v / w) exp(-(m - m')^2 / 2w), where w = v + 2 s^2."""
    v = 1.5
    w = v + 2 * STD**2
    return 2 * math.sqrt(v / w) * (1 - math.exp(-(shift**2) / (2 * w)))


def gaussian_energy(shift: float) -> float:
    """E|N(m, 2 s^2)| is that of a folded normal distribution."""
    s = STD * math.sqrt(2)

    def folded(m: float) -> float:
        tail = m * math.erf(m / (s * math.sqrt(2)))
        return s * math.sqrt(2 / math.pi) * math.exp(-(m**2) / (2 * s**2)) + tail

    return 2 * folded(shift) - 2 * folded(0)


@pytest.mark.parametrize("shift", [0.0, SHIFT])
@pytest.mark.parametrize("estimator", ["unbiased", "linear"])
@pytest.mark.parametrize(
    ("kernel", "expected"),
    [(GaussianMixture([1.5], "variance"), gaussian_mmd2), (Energy(), gaussian_energy), (Linear(), np.square)],
    ids=["gaussian", "energy", "linear"],
)
def test_the_mean_of_unbiased_estimates_is_the_distance_of_two_gaussians(
    kernel: Kernel, expected, estimator: str, shift: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    draws = STD * torch.randn(400, 2, 50, 1, generator=generator, dtype=torch.float64)
    estimates = torch.stack([mmd2(x, shift + y, kernel, estimator) for x, y in draws])
    error = float(estimates.std()) / math.sqrt(len(estimates))
    assert float(estimates.mean()) == pytest.approx(expected(shift), abs=4 * error)
    assert 4 * error < 0.15


def test_the_biased_estimate_is_too_large_at_equal_distributions_by_its_bias() -> None:
    x, y = samples(20, 20)
    gaussian = GaussianMixture([1.5], "variance")
    same = mmd2(x, x, gaussian, "biased")
    assert float(same) == pytest.approx(0, abs=1e-12)
    # The diagonals, which the unbiased estimate leaves out, are 1.
    biased, unbiased = (mmd2(x, y, gaussian, estimator) for estimator in ("biased", "unbiased"))
    within = (gaussian.off_diagonal_sum(x) + gaussian.off_diagonal_sum(y)) / (20 * 19)
    assert float(biased - unbiased) == pytest.approx(float(2 - within) / 20)


def test_energy_is_that_of_scipy_squared() -> None:
    x, y = samples(30, 40, dim=1)
    expected = scipy.stats.energy_distance(x.flatten().numpy(), y.flatten().numpy()) ** 2
    assert float(mmd2(x, y, Energy(), "biased")) == pytest.approx(expected, rel=1e-6)


def test_sliced_wasserstein_on_a_line_is_that_of_scipy() -> None:
    x, y = samples(30, 30, dim=1)
    line = torch.ones(1, 1, dtype=torch.float64)
    expected = scipy.stats.wasserstein_distance(x.flatten().numpy(), y.flatten().numpy())
    assert float(sliced_wasserstein(x, y, line, 1)) == pytest.approx(expected)


def test_sliced_wasserstein_is_the_cost_of_the_optimal_plan_on_each_line() -> None:
    x, y = samples(6, 6, dim=2)
    directions = torch.nn.functional.normalize(torch.randn(3, 2, dtype=torch.float64))
    costs = []
    for direction in directions:
        cost = ((x @ direction)[:, None] - (y @ direction)[None]).square().numpy()
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        costs.append(cost[rows, columns].mean())
    assert float(sliced_wasserstein(x, y, directions, 2)) == pytest.approx(np.mean(costs))


def test_sliced_wasserstein_of_a_shift_is_its_share_along_the_lines() -> None:
    x, shift = samples(8, 8)[0], torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    directions = torch.nn.functional.normalize(torch.randn(4000, 3, dtype=torch.float64))
    # The mean of (u . s)^2 over the sphere is |s|^2 / D.
    assert float(sliced_wasserstein(x, x + shift, directions, 2)) == pytest.approx(6 / 3, rel=0.1)


def moments(orders: list[int]) -> Moments:
    """The distance of these moments and of the covariances."""
    return Moments(orders, covariance=True, space=Pixels(), weight={"generator": 1.0})


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_moments_are_those_of_scipy(order: int) -> None:
    x, _ = samples(9, 1)
    expected = x.numpy().mean(0) if order == 1 else scipy.stats.moment(x.numpy(), order)
    assert moment(x, order).numpy() == pytest.approx(expected)


def test_covariances_are_those_of_numpy() -> None:
    x, y = samples(9, 11)
    expected = ((np.cov(x.numpy().T, bias=True) - np.cov(y.numpy().T, bias=True)) ** 2).sum()
    assert float(moments([]).distance(x, y, None)) == pytest.approx(expected)


def test_gaps_of_moments_are_squared_and_added() -> None:
    x, y = samples(9, 11)
    gaps = [moment(x, order) - moment(y, order) for order in (1, 3)]
    expected = sum(float((gap**2).sum()) for gap in gaps) + float(moments([]).distance(x, y, None))
    assert float(moments([1, 3]).distance(x, y, None)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [5, 6])
def test_the_median_distance_is_that_of_a_list(n: int) -> None:
    x, _ = samples(n, 1)
    distances = sorted(math.dist(a, b) for a, b in combinations(x.tolist(), 2))
    assert float(median_distance(x)) == pytest.approx(distances[(len(distances) - 1) // 2])


@each_kernel
@pytest.mark.parametrize("estimator", ["biased", "unbiased", "linear"])
def test_the_gradient_of_an_estimate_is_that_of_finite_differences(kernel: Kernel, estimator: str) -> None:
    x, y = samples(4, 4)
    assert torch.autograd.gradcheck(
        lambda x, y: mmd2(x, y, kernel, estimator), (x.requires_grad_(), y.requires_grad_())
    )


@pytest.mark.parametrize("p", [1, 2])
def test_the_gradients_of_other_distances_are_those_of_finite_differences(p: int) -> None:
    x, y = samples(4, 4)
    lines = torch.randn(2, 3, dtype=torch.float64)
    given = (x.requires_grad_(), y.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, y: sliced_wasserstein(x, y, lines, p), given)
    assert torch.autograd.gradcheck(lambda x, y: moments([p + 2]).distance(x, y, None), given)


@pytest.mark.parametrize(
    ("call", "key", "reason"),
    [
        (lambda x, y: mmd2(x[:1], y, Linear(), "unbiased"), "data.batch_size", "unbiased estimate needs"),
        (
            lambda x, y: mmd2(x[:1], y[:1], Linear(), "linear"),
            "data.batch_size",
            "linear-time estimate needs",
        ),
        (lambda x, y: mmd2(x[:3], y, Linear(), "linear"), "", "as many samples on both sides, not 3 and 4"),
        (lambda x, y: sliced_wasserstein(x[:3], y, x, 1), "", "as many samples on both sides, not 3 and 4"),
        (lambda x, y: median_distance(x[:1]), "data.batch_size", "median of distances needs at least two"),
        (lambda x, y: median_distance(x * 0), "", "median distance of the samples is 0"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(call, key: str, reason: str) -> None:
    with refuses(key, reason=reason):
        call(*samples(4, 4))
