"""Relativistic costs against loops over samples, in probabilities."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
import torch
from support.logit_costs import FAKE, ONES, REAL, player_cost

from ganlab.objectives.relativistic import Relativistic, RelativisticAverage


def surprise(logit: float) -> float:
    """-log sigmoid."""
    return -math.log(1 / (1 + math.exp(-logit)))


def test_pairs_are_compared() -> None:
    objective, pairs = Relativistic(ONES), list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    assert player_cost(objective, "discriminator").tolist() == pytest.approx(
        [surprise(r - f) for r, f in pairs]
    )
    assert player_cost(objective, "generator").tolist() == pytest.approx([surprise(f - r) for r, f in pairs])


def test_each_is_compared_with_the_average_of_the_others() -> None:
    real, fake = fmean(REAL.tolist()), fmean(FAKE.tolist())
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    objective = RelativisticAverage(ONES)
    expected = [surprise(r - fake) + surprise(real - f) for r, f in pairs]
    assert player_cost(objective, "discriminator").tolist() == pytest.approx(expected)
    reversed_ = [surprise(f - real) + surprise(fake - r) for r, f in pairs]
    assert player_cost(objective, "generator").tolist() == pytest.approx(reversed_)


def test_the_average_is_taken_over_patches_too() -> None:
    real, fake = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    flat = player_cost(RelativisticAverage(ONES), "discriminator", real.flatten(), fake.flatten())
    assert torch.allclose(player_cost(RelativisticAverage(ONES), "discriminator", real, fake).flatten(), flat)


@pytest.mark.parametrize("objective", [Relativistic(ONES), RelativisticAverage(ONES)])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_only_differences_count(objective, player) -> None:
    assert torch.allclose(player_cost(objective, player), player_cost(objective, player, REAL + 5, FAKE + 5))
