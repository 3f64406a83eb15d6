"""Precision, recall, density and coverage against their definitions, and in expectation."""

from __future__ import annotations

import math

import pytest
import torch
from support.refusals import refuses
from test_fidelity import Pixels, images, measure
from torch import Tensor

from ganlab.metrics import neighbours
from ganlab.metrics.features import round_to_256_levels
from ganlab.metrics.neighbours import PRDC, ball_radii, prdc


def by_hand(real: Tensor, fake: Tensor, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage, sample by sample (Naeem et al. 2020, equations 3 to 6)."""

    def radius(x: Tensor, i: int) -> float:
        """The distance of row i to its k-th nearest neighbour among the other rows."""
        return sorted(float((x[i] - x[j]).norm()) for j in range(len(x)) if j != i)[k - 1]

    n, m = len(real), len(fake)
    real_radii = [radius(real, i) for i in range(n)]
    fake_radii = [radius(fake, j) for j in range(m)]
    distances = [[float((x - y).norm()) for y in fake] for x in real]
    # The number of real balls in which each generated sample lies.
    num_balls = [sum(distances[i][j] < real_radii[i] for i in range(n)) for j in range(m)]
    return (
        sum(count > 0 for count in num_balls) / m,
        sum(any(distances[i][j] < fake_radii[j] for j in range(m)) for i in range(n)) / n,
        sum(num_balls) / (k * m),
        sum(any(distances[i][j] < real_radii[i] for j in range(m)) for i in range(n)) / n,
    )


def normal(n: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    """Normal random features [n, dim] with mean `shift` and variance 1."""
    return shift + torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_values_are_those_of_the_definitions(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CHUNK", 7)  # so that 30 or 20 rows need several chunks
    real, fake = normal(30, 2, 0), normal(20, 2, 1, shift=0.7)
    assert prdc(real, fake, k) == pytest.approx(by_hand(real, fake, k))


def test_precision_and_recall_swap_if_real_and_generated_samples_do() -> None:
    x, y = normal(40, 3, seed=0), normal(60, 3, seed=1, shift=1.0)
    precision, recall, _, _ = prdc(real=x, fake=y, k=5)
    swapped_precision, swapped_recall, _, _ = prdc(real=y, fake=x, k=5)
    assert 0 < precision < 1
    assert (precision, recall) == (swapped_recall, swapped_precision)


def test_expected_density_and_coverage_of_one_distribution() -> None:
    n, k = 100, 5
    repetitions = [prdc(normal(n, 4, seed=2 * i), normal(n, 4, seed=2 * i + 1), k) for i in range(200)]
    _, _, densities, coverages = torch.tensor(repetitions).unbind(1)
    expected_coverage = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert expected_coverage == pytest.approx(0.969, abs=0.003)
    for values, expected in ((densities, 1.0), (coverages, expected_coverage)):
        assert float(values.mean()) == pytest.approx(expected, abs=4 * float(values.std()) / math.sqrt(200))


def test_a_sample_is_not_its_own_neighbour_but_its_copy_is() -> None:
    x = torch.tensor([[0.0], [1.0], [3.0], [3.0]], dtype=torch.float64)
    assert ball_radii(x, 1).tolist() == [1, 1, 0, 0]
    assert ball_radii(x, 2).tolist() == [3, 2, 2, 2]


def test_copies_count_once() -> None:
    real, fake = normal(30, 3, 0), normal(20, 3, 1, shift=0.5)
    expected = prdc(real, fake, 3)
    assert prdc(torch.cat([real, real[:9], real[:9], real[:9]]), fake, 3) == expected
    assert prdc(real.repeat(6, 1), fake.repeat(4, 1), 3) == pytest.approx(expected)
    _, expected_recall, _, expected_coverage = expected
    _, recall, _, coverage = prdc(real, torch.cat([fake, fake[:5]]), 3)
    assert (recall, coverage) == (expected_recall, expected_coverage)
    of_itself = prdc(real, real, 3)
    assert prdc(real.repeat(6, 1), real, 3) == of_itself
    precision, recall, density, coverage = of_itself
    assert precision == recall == coverage == 1
    assert density > 1
    noise = 1e-7 * normal(30, 3, 2)  # as large as the rounding of a network in float32
    assert prdc(torch.cat([real, real + noise]), fake, 3) == expected


def test_equal_samples_have_low_coverage_and_no_recall() -> None:
    real = normal(30, 3, 0)
    precision, recall, density, coverage = prdc(real, real[:1].repeat(50, 1), 3)
    assert (precision, recall) == (1, 0)
    assert density > 0
    assert 1 / 30 <= coverage < 0.5
    with refuses(".k", 3, "only 2 real images are distinct", "lower it"):
        prdc(real[:2].repeat(9, 1), real, 3)


def test_the_metric_uses_the_features_of_the_extractor() -> None:
    real, fake = images(40, 0), images(30, 1, brightness=0.8)
    metric = PRDC(Pixels(64), "train", k=3)
    features = [metric.extractor.network.extract(round_to_256_levels(x)).features for x in (real, fake)]
    precision, recall, density, coverage = prdc(*features, k=3)
    expected = {
        "precision/pixels_train": precision,
        "recall/pixels_train": recall,
        "density/pixels_train": density,
        "coverage/pixels_train": coverage,
    }
    assert measure(metric, real, fake) == pytest.approx(expected)
    metric.reset()
    metric.update(fake)
    assert metric.compute() == pytest.approx(expected)


def test_too_few_samples_or_neighbours_are_refused() -> None:
    with refuses(".k", 3, "there are 3 generated ones"):
        measure(PRDC(Pixels(64), "train", k=3), images(40, 0), images(3, 1))
