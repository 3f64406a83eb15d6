"""KID against torch-fidelity's, and in expectation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.refusals import refuses
from test_fidelity import Pixels, images, measure
from torch import Tensor
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from ganlab.functional.distances import Estimator
from ganlab.metrics.base import Reservoir
from ganlab.metrics.features import round_to_256_levels
from ganlab.metrics.fidelity import KernelDistance
from ganlab.metrics.protocols import refuse_unlike


def test_values_are_those_of_torch_fidelity() -> None:
    real, fake = images(90, 0), images(70, 1, brightness=0.8)
    seen = [round_to_256_levels(x).flatten(1) for x in (fake, real)]
    theirs = kid_features_to_metric(*seen, kid_subsets=7, kid_subset_size=30, verbose=False)
    metric = KernelDistance(Pixels(64), "train", 7, 30)
    found = measure(metric, real, fake)
    assert found["kid/pixels_train"] == pytest.approx(theirs[KEY_METRIC_KID_MEAN], rel=1e-9)
    assert metric.extras["std_over_subsets"] == pytest.approx(theirs[KEY_METRIC_KID_STD], rel=1e-9)
    assert metric.protocol()["estimator"] == "unbiased"


@pytest.mark.parametrize("estimator", ["biased", "unbiased", "u_statistic"])
def test_an_estimator_is_its_sum_over_pairs(estimator: Estimator) -> None:
    real, fake = images(30, 0), images(30, 1, brightness=0.8)
    metric = KernelDistance(Pixels(64), "train", 1, 30, estimator)
    found = measure(metric, real, fake)["kid/pixels_train"]
    chance = np.random.RandomState(2020)
    y, x = (
        round_to_256_levels(part).flatten(1)[chance.choice(30, 30, replace=False)] for part in (fake, real)
    )  # in the order in which torch-fidelity draws them
    within, across = [(a @ a.T / 64 + 1) ** 3 for a in (x, y)], (x @ y.T / 64 + 1) ** 3
    pairs = 30 * 30 if estimator == "biased" else 30 * 29
    sums = [k.sum() - (0 if estimator == "biased" else k.trace()) for k in within]
    cross = across.mean() if estimator != "u_statistic" else (across.sum() - across.trace()) / pairs
    assert found == pytest.approx(float(sum(sums) / pairs - 2 * cross), rel=1e-9)
    assert metric.protocol()["estimator"] == estimator


def test_the_deviation_over_subsets_with_all_generated_samples_has_another_name() -> None:
    metric = KernelDistance(Pixels(64), "train", 3, 40)
    measure(metric, images(80, 0), images(40, 1))
    assert list(metric.extras) == ["std_over_subsets_of_reals_alone"]


def test_values_of_two_estimators_are_not_comparable() -> None:
    one, other = (
        {"value": 1.0, **KernelDistance(Pixels(64), "train", 3, 40, estimator).protocol()}
        for estimator in ("unbiased", "u_statistic")
    )
    with refuses("kid", reason="not comparable: estimator is unbiased and u_statistic"):
        refuse_unlike("kid", {"a": one, "b": other})


def test_the_mean_is_zero_for_samples_of_one_distribution() -> None:
    values = []
    for i in range(60):
        metric = KernelDistance(Pixels(64), "train", subsets=2, subset_size=40)
        values.append(measure(metric, images(80, 2 * i), images(80, 2 * i + 1))["kid/pixels_train"])
    spread = torch.tensor(values).std() / math.sqrt(len(values))
    assert abs(sum(values) / len(values)) < 4 * float(spread)
    assert min(values) < 0


def test_a_reservoir_is_bounded_and_a_uniform_choice() -> None:
    def kept(seed: int) -> Tensor:
        features = Reservoir(limit=20)
        order = torch.randperm(100, generator=torch.Generator().manual_seed(seed)).double()
        for rows in order[:, None].split(7):
            features.add(rows)
        return features.rows.flatten()

    counts = torch.zeros(100)
    for seed in range(400):
        rows = kept(seed).long()
        assert len(rows.unique()) == 20
        counts[rows] += 1
    # Each is kept 80 times of 400 in expectation, with deviation 8.
    assert (counts - 80).abs().max() < 8 * 4.5
    assert torch.equal(kept(0), kept(0))
    few = Reservoir(limit=20)
    few.add(torch.arange(5.0)[:, None])
    assert few.rows.flatten().tolist() == [0, 1, 2, 3, 4]


def test_too_few_samples_or_subsets_are_refused() -> None:
    with refuses(".subset_size", 30, "there are 20 real ones", "lower it to 20"):
        measure(KernelDistance(Pixels(64), "train", 7, 30), images(20, 0), images(40, 1))
