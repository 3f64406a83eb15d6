"""The statistics of a few seeds, against scipy, hand computations and simulated experiments."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from ganlab.suites.statistics import (
    compare,
    holm,
    interval,
    paired_p,
    sd,
    smallest_effect,
)
from scipy import integrate, stats

ONE = [11.2, 9.7, 10.4, 12.9, 10.1]
OTHER = [12.5, 10.9, 10.3, 15.0, 11.8]


def test_means_deviations_and_intervals_equal_those_of_scipy() -> None:
    assert sd(ONE) == pytest.approx(np.std(ONE, ddof=1))
    expected = stats.t.interval(0.95, 4, loc=np.mean(ONE), scale=stats.sem(ONE))
    found = interval(ONE)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.holds(expected[1] - 1e-9)
    assert not found.holds(expected[1] + 1e-9)


def test_a_comparison_pairs_its_seeds() -> None:
    found = compare(ONE, OTHER)
    assert found is not None
    expected = stats.ttest_rel(ONE, OTHER)
    low, high = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.mean == pytest.approx(np.mean(ONE) - np.mean(OTHER))
    assert found.differences == pytest.approx((-1.3, -1.2, 0.1, -2.1, -1.7))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    deviation = np.std(np.subtract(ONE, OTHER), ddof=1)
    assert found.smallest == pytest.approx(smallest_effect(deviation, 5))


@pytest.mark.parametrize("n", [9, 10, 11])
def test_from_ten_values_on_the_interval_is_a_bootstrap_interval(n: int) -> None:
    values = list(np.random.default_rng(0).exponential(size=n))
    found = interval(values)
    assert found is not None
    if n < 10:
        expected = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected)
        return
    rng = np.random.default_rng(0)
    expected = stats.bootstrap((values,), np.mean, method="BCa", rng=rng).confidence_interval
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.high - np.mean(values) > np.mean(values) - found.low  # the sample is skewed


def test_values_without_spread_cause_no_division_by_zero() -> None:
    assert compare([], []) is None
    single = compare([3.0], [1.0])
    assert single is not None
    assert (single.mean, single.interval, single.p, single.smallest) == (2.0, None, None, None)
    # The differences are equal up to rounding, and the sign test of three seeds has at least p = 1/4.
    equal = compare([0.3, 0.4, 0.5], [0.1, 0.2, 0.3])
    assert equal is not None
    assert (equal.interval, equal.p, equal.smallest) == (None, 0.25, None)
    assert paired_p([0.0, 0.0, 0.0]) == 1
    assert interval([2.0] * 12) is None
    assert (sd([1.0]), sd([2.0, 2.0])) == (None, 0)


def test_holms_correction_equals_a_computation_by_hand() -> None:
    # Sorted: 0.005 x 4, 0.011 x 3 = 0.033, 0.02 x 2 = 0.040, 0.03 x 1, which may not fall below 0.040.
    assert holm([0.02, 0.005, 0.03, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    assert holm([0.6, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([0.7, 0.9, 0.8]) == [1, 1, 1]
    assert holm([]) == []


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.05), (3, 0.05), (3, 0.05 / 7), (5, 0.05), (20, 0.01)])
def test_the_smallest_effect_is_detected_with_the_given_power(n: int, alpha: float) -> None:
    """The power is integrated over the distribution of the sample deviation, without the noncentral t."""
    effect = smallest_effect(2.0, n, alpha)
    assert effect is not None
    shift, critical = effect / 2 * sqrt(n), stats.t.ppf(1 - alpha / 2, n - 1)

    def density(ratio: float) -> float:
        power = stats.norm.cdf(shift - critical * ratio) + stats.norm.cdf(-shift - critical * ratio)
        return power * stats.chi.pdf(ratio * sqrt(n - 1), n - 1) * sqrt(n - 1)

    assert integrate.quad(density, 0, 8, limit=300)[0] == pytest.approx(0.8, abs=1e-6)


def test_simulated_experiments_detect_the_smallest_effect_with_power_80_percent() -> None:
    effect = smallest_effect(1.0, 4)
    assert effect is not None
    samples = np.random.default_rng(0).normal(effect, 1, (20_000, 4))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)
    assert smallest_effect(0.0, 4) is None
    assert smallest_effect(None, 1) is None


def test_with_three_seeds_the_interval_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(0)
    found = [interval(list(rng.normal(5, 2, 3))) for _ in range(2000)]
    covered = np.mean([one is not None and one.holds(5) for one in found])
    assert covered == pytest.approx(0.95, abs=0.015)  # three standard errors
