"""The numbers of the health monitor against closed forms."""

import math
from types import SimpleNamespace

import pytest
import torch

from ganlab.monitoring.measures import checkerboard, ranking, saturation
from ganlab.monitoring.probe import fits


def test_ranking_is_the_area_under_the_curve() -> None:
    assert ranking(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == 1
    assert ranking(torch.tensor([0.0, 2.0]), torch.tensor([1.0])) == 0.5
    assert ranking(torch.tensor([1.0]), torch.tensor([1.0])) == 0.5
    n = 20000
    high = torch.randn(n) + 1
    expected = 0.5 * (1 + math.erf(1 / 2))  # P(N(1, 2) > 0)
    assert float(ranking(high[:2000], torch.randn(2000))) == pytest.approx(expected, abs=0.02)


def test_the_energy_distance_of_points_on_a_line() -> None:
    x = torch.tensor([[0.0], [1.0], [3.0]])
    base = SimpleNamespace(rows=x, distance=torch.tensor(2.0))
    distances, within, _ = fits(x, base)
    assert (distances.shape, float(within)) == ((3, 3), pytest.approx((1 + 3 + 2) / 3))
    # Two points at distance 1 from each other, and the same two moved by 10.
    pair = torch.tensor([[0.0], [1.0]])
    assert fits(pair + 10, SimpleNamespace(rows=pair, distance=torch.tensor(1.0)))[2] == 9


def test_the_energy_distance_of_equal_samples_is_small() -> None:
    x, y = torch.randn(400, 3), torch.randn(400, 3)
    base = SimpleNamespace(rows=x, distance=torch.pdist(x).mean())
    assert abs(float(fits(y, base)[2])) < 0.01


def test_saturation_counts_what_is_at_the_ends() -> None:
    x = torch.tensor([-1.0, -0.995, 0.0, 0.97, 1.0])
    assert saturation(x, -1, 1) == pytest.approx(3 / 5)


def test_a_checkerboard_is_all_of_its_own_variance() -> None:
    rows, columns = torch.arange(16)[:, None], torch.arange(16)
    board = ((rows + columns) % 2).float().expand(4, 1, 16, 16)
    assert checkerboard(board) == pytest.approx(1)
    assert checkerboard((rows % 2 + 0 * columns).float().expand(4, 1, 16, 16)) == pytest.approx(1)
    smooth = torch.sin(2 * math.pi * columns / 16).expand(4, 1, 16, 16)
    assert checkerboard(smooth) == pytest.approx(0, abs=1e-10)
    assert float(checkerboard(torch.randn(2000, 1, 16, 16))) == pytest.approx(3 / 255, rel=0.05)
    assert checkerboard(torch.randn(8, 1, 17, 19)).isfinite()  # a row or a column is left out
