"""KID against torch-fidelity and against sums over pairs; its expected value; and the reservoir."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.refusals import refuses
from test_fidelity import Pixels, images, measure
from torch import Tensor
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from ganlab.functional.distances import Estimator, mmd2, mmd2_interval
from ganlab.metrics.base import Reservoir
from ganlab.metrics.features import round_to_256_levels
from ganlab.metrics.fidelity import KERNEL, KernelDistance
from ganlab.metrics.protocols import require_same_protocol


def test_values_are_those_of_torch_fidelity() -> None:
    real, fake = images(90, 0), images(70, 1, brightness=0.8)
    features = [round_to_256_levels(x).flatten(1) for x in (fake, real)]
    expected = kid_features_to_metric(*features, kid_subsets=7, kid_subset_size=30, verbose=False)
    metric = KernelDistance(Pixels(64), "train", subsets=7, subset_size=30)
    values = measure(metric, real, fake)
    assert values["kid/pixels_train"] == pytest.approx(expected[KEY_METRIC_KID_MEAN], rel=1e-9)
    assert metric.extras["std_over_subsets"] == pytest.approx(expected[KEY_METRIC_KID_STD], rel=1e-9)
    assert metric.protocol()["estimator"] == "unbiased"


@pytest.mark.parametrize("estimator", ["biased", "unbiased", "u_statistic"])
def test_an_estimator_is_its_sum_over_pairs(estimator: Estimator) -> None:
    real, fake = images(30, 0), images(30, 1, brightness=0.8)
    metric = KernelDistance(Pixels(64), "train", subsets=1, subset_size=30, estimator=estimator)
    value = measure(metric, real, fake)["kid/pixels_train"]
    rng = np.random.RandomState(2020)
    y, x = (
        round_to_256_levels(samples).flatten(1)[rng.choice(30, 30, replace=False)] for samples in (fake, real)
    )  # in the order in which torch-fidelity draws them
    k_xx, k_yy, k_xy = ((a @ b.T / 64 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))

    def mean_over_distinct(k: Tensor) -> Tensor:
        """The mean over the pairs of different indices."""
        return (k.sum() - k.trace()) / (30 * 29)

    mean_within = torch.mean if estimator == "biased" else mean_over_distinct
    mean_across = mean_over_distinct if estimator == "u_statistic" else torch.mean
    expected = mean_within(k_xx) + mean_within(k_yy) - 2 * mean_across(k_xy)
    assert value == pytest.approx(float(expected), rel=1e-9)
    assert metric.protocol()["estimator"] == estimator


def test_the_deviation_over_subsets_with_all_generated_samples_has_another_name() -> None:
    metric = KernelDistance(Pixels(64), "train", subsets=3, subset_size=40)
    measure(metric, images(80, 0), images(40, 1))
    assert list(metric.extras) == ["std_over_subsets_of_reals_alone"]


def test_values_of_two_estimators_are_not_comparable() -> None:
    first, second = (
        {"value": 1.0, **KernelDistance(Pixels(64), "train", 3, 40, estimator).protocol()}
        for estimator in ("unbiased", "u_statistic")
    )
    with refuses("kid", reason="not comparable: estimator is unbiased and u_statistic"):
        require_same_protocol("kid", {"a": first, "b": second})


def test_the_mean_is_zero_for_samples_of_one_distribution() -> None:
    values = []
    for i in range(60):
        metric = KernelDistance(Pixels(64), "train", subsets=2, subset_size=40)
        values.append(measure(metric, images(80, 2 * i), images(80, 2 * i + 1))["kid/pixels_train"])
    standard_error = torch.tensor(values).std() / math.sqrt(len(values))
    assert abs(sum(values) / len(values)) < 4 * float(standard_error)
    assert min(values) < 0


def test_a_reservoir_is_bounded_and_a_uniform_choice() -> None:
    def stored_rows(seed: int) -> Tensor:
        """The rows that a reservoir stores of the numbers 0 to 99 in random order."""
        reservoir = Reservoir(limit=20)
        order = torch.randperm(100, generator=torch.Generator().manual_seed(seed)).double()
        for rows in order[:, None].split(7):
            reservoir.add(rows)
        return reservoir.rows.flatten()

    counts = torch.zeros(100)
    for seed in range(400):
        rows = stored_rows(seed).long()
        assert len(rows.unique()) == 20
        counts[rows] += 1
    # Each number is stored in 80 of the 400 reservoirs in expectation, with a standard deviation of 8.
    assert (counts - 80).abs().max() < 8 * 4.5
    assert torch.equal(stored_rows(0), stored_rows(0))
    not_full = Reservoir(limit=20)
    not_full.add(torch.arange(5.0)[:, None])
    assert not_full.rows.flatten().tolist() == [0, 1, 2, 3, 4]


def test_too_few_samples_or_subsets_are_refused() -> None:
    with refuses(".subset_size", 30, "there are 20 real ones", "lower it to 20"):
        measure(KernelDistance(Pixels(64), "train", subsets=7, subset_size=30), images(20, 0), images(40, 1))


def test_an_interval_holds_the_estimate_and_for_equal_laws_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y, shifted = (torch.randn(60, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    shifted += 0.8
    for other, holds_zero in ((y, True), (shifted, False)):
        low, high = mmd2_interval(x, other, KERNEL, 300, 0)
        assert low < float(mmd2(x, other, KERNEL, "unbiased")) < high
        assert (low < 0 < high) == holds_zero


def test_kid_records_its_interval() -> None:
    metric = KernelDistance(Pixels(64), "train", subsets=2, subset_size=30, bootstrap=50)
    measure(metric, images(90, 0), images(70, 1, brightness=0.8))
    assert metric.extras["low"] < metric.extras["high"]
