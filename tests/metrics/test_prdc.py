"""Precision, recall, density and coverage against their definitions, and in expectation."""

from __future__ import annotations

import math

import pytest
import torch
from support.refusals import refuses
from test_fidelity import Pixels, images, measure
from torch import Tensor

from ganlab.metrics import neighbours
from ganlab.metrics.neighbours import PRDC, prdc, radii


def by_hand(real: Tensor, fake: Tensor, k: int) -> tuple[float, float, float, float]:
    """Sample by sample (Naeem et al. 2020, equations 3 to 6)."""

    def reach(x: Tensor, i: int) -> float:
        return sorted(float((x[i] - x[j]).norm()) for j in range(len(x)) if j != i)[k - 1]

    around_real = [reach(real, i) for i in range(len(real))]
    around_fake = [reach(fake, j) for j in range(len(fake))]
    gap = [[float((x - y).norm()) for y in fake] for x in real]
    n, m = len(real), len(fake)
    balls = [sum(gap[i][j] < around_real[i] for i in range(n)) for j in range(m)]  # that a fake lies in
    return (
        sum(count > 0 for count in balls) / m,
        sum(any(gap[i][j] < around_fake[j] for j in range(m)) for i in range(n)) / n,
        sum(balls) / (k * m),
        sum(any(gap[i][j] < around_real[i] for j in range(m)) for i in range(n)) / n,
    )


def normal(n: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    return shift + torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_values_are_those_of_the_definitions(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CHUNK", 7)  # of a matrix of 30 x 20
    real, fake = normal(30, 2, 0), normal(20, 2, 1, shift=0.7)
    assert prdc(real, fake, k) == pytest.approx(by_hand(real, fake, k))


def test_precision_of_one_is_recall_of_the_other() -> None:
    one, other = normal(40, 3, 0), normal(60, 3, 1, shift=1.0)
    forth, back = prdc(one, other, 5), prdc(other, one, 5)
    assert 0 < forth[0] < 1
    assert forth[:2] == back[1::-1]


def test_expected_density_and_coverage_of_one_distribution() -> None:
    n, k = 100, 5
    found = torch.tensor([prdc(normal(n, 4, 2 * i), normal(n, 4, 2 * i + 1), k) for i in range(200)])
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert expected == pytest.approx(0.969, abs=0.003)
    for values, mean in ((found[:, 2], 1.0), (found[:, 3], expected)):
        assert float(values.mean()) == pytest.approx(mean, abs=4 * float(values.std()) / math.sqrt(200))


def test_a_sample_is_not_its_own_neighbour_but_its_copy_is() -> None:
    x = torch.tensor([[0.0], [1.0], [3.0], [3.0]], dtype=torch.float64)
    assert radii(x, 1).tolist() == [1, 1, 0, 0]
    assert radii(x, 2).tolist() == [3, 2, 2, 2]


def test_copies_count_once() -> None:
    real, fake = normal(30, 3, 0), normal(20, 3, 1, shift=0.5)
    expected = prdc(real, fake, 3)
    assert prdc(torch.cat([real, real[:9], real[:9], real[:9]]), fake, 3) == expected
    assert prdc(real.repeat(6, 1), fake.repeat(4, 1), 3) == pytest.approx(expected)
    assert prdc(real, torch.cat([fake, fake[:5]]), 3)[1::2] == expected[1::2]  # recall and coverage
    itself = prdc(real, real, 3)
    assert prdc(real.repeat(6, 1), real, 3) == itself
    assert itself[0] == itself[1] == itself[3] == 1
    assert itself[2] > 1
    noise = 1e-7 * normal(30, 3, 2)  # of a network in float32
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
    seen = [metric.extractor.network.extract((x.double() * 255).round() / 255).features for x in (real, fake)]
    names = [f"{kind}/pixels_train" for kind in ("precision", "recall", "density", "coverage")]
    assert measure(metric, real, fake) == pytest.approx(dict(zip(names, prdc(*seen, 3), strict=True)))
    metric.reset()
    metric.update(fake)
    assert metric.compute() == pytest.approx(dict(zip(names, prdc(*seen, 3), strict=True)))


def test_too_few_samples_or_neighbours_are_refused() -> None:
    with refuses(".k", 3, "there are 3 generated ones"):
        measure(PRDC(Pixels(64), "train", k=3), images(40, 0), images(3, 1))
