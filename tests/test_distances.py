"""Distances and kernels against loops, and in expectation against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from ganlab.distances import mmd2
from ganlab.errors import Refused
from ganlab.kernels import GaussianMixture
from ganlab.pairs import squared_distances

WIDTHS = [0.5, 2.0]


def gram(x: Tensor, y: Tensor) -> list[list[float]]:
    return [[sum(math.exp(-float((a - b).square().sum()) / (2 * v)) for v in WIDTHS) for b in y] for a in x]


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_mmd_is_that_of_a_loop(estimator: str) -> None:
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64) + 1
    kernel = GaussianMixture(WIDTHS, "variance")

    def mean(k: list[list[float]]) -> float:
        pairs = [k[i][j] for i in range(len(k)) for j in range(len(k)) if estimator == "biased" or i != j]
        return sum(pairs) / len(pairs)

    cross = gram(x, y)
    expected = mean(gram(x, x)) + mean(gram(y, y)) - 2 * sum(map(sum, cross)) / (5 * 7)
    assert float(mmd2(x, y, kernel, estimator)) == pytest.approx(expected, rel=1e-9)


def test_the_unbiased_estimate_is_the_distance_of_two_gaussians_on_average() -> None:
    # For N(m, s^2) in one dimension E k(x, y) = sqrt(v / (v + 2 s^2)) exp(-(m - m')^2 / (2 (v + 2 s^2))).
    v, s, shift = 1.5, 0.8, 1.0
    wide = v + 2 * s * s
    expected = 2 * math.sqrt(v / wide) * (1 - math.exp(-(shift**2) / (2 * wide)))
    kernel = GaussianMixture([v], "variance")
    generator = torch.Generator().manual_seed(0)
    estimates = torch.stack(
        [
            mmd2(
                s * torch.randn(50, 1, generator=generator, dtype=torch.float64),
                shift + s * torch.randn(50, 1, generator=generator, dtype=torch.float64),
                kernel,
                "unbiased",
            )
            for _ in range(400)
        ]
    )
    assert float(estimates.mean()) == pytest.approx(expected, abs=4 * float(estimates.std()) / 20)


def test_a_std_is_the_root_of_a_variance() -> None:
    x, y = torch.randn(4, 2), torch.randn(5, 2)
    assert torch.allclose(GaussianMixture([3.0], "std")(x, y), GaussianMixture([9.0], "variance")(x, y))


def test_squared_distances() -> None:
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    assert torch.allclose(squared_distances(x, y), torch.cdist(x, y).square())


@pytest.mark.parametrize(("widths", "width_is"), [([], "std"), ([1, -2], "std"), ([1], "radius")])
def test_a_bad_kernel_is_refused(widths: list[float], width_is: str) -> None:
    with pytest.raises(Refused, match=r"kernel\.width"):
        GaussianMixture(widths, width_is)
