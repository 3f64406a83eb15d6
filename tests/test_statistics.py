"""The statistics of a few seeds, against scipy, hand computations and simulated experiments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import integrate, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from support.small_games import ROOT

from ganlab.studies.statistics import Sample, holm, smallest_effect

ONE = [11.2, 9.7, 10.4, 12.9, 10.1]
OTHER = [12.5, 10.9, 10.3, 15.0, 11.8]


def sample(values: Iterable[float], *bounds: float) -> Sample:
    return Sample(dict(enumerate(values)), *([bounds] if bounds else []))


def test_means_deviations_and_intervals_equal_those_of_scipy() -> None:
    found, expected = sample(ONE), stats.t.interval(0.95, 4, loc=np.mean(ONE), scale=stats.sem(ONE))
    assert (found.mean, found.sd) == pytest.approx((np.mean(ONE), np.std(ONE, ddof=1)))
    assert found.interval == pytest.approx((*expected, False))


def test_a_comparison_pairs_its_seeds() -> None:
    found = Sample({5: 9.0, **dict(enumerate(ONE))}).minus(sample([*OTHER, 0.0][:5]))
    expected = stats.ttest_rel(ONE, OTHER)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.mean == pytest.approx(np.mean(ONE) - np.mean(OTHER))
    assert found.values == pytest.approx([-1.3, -1.2, 0.1, -2.1, -1.7])
    assert found.interval == pytest.approx((*expected.confidence_interval(0.95), False))
    assert found.smallest_effect() == pytest.approx(
        smallest_effect(np.std(np.subtract(ONE, OTHER), ddof=1), 5)
    )


@pytest.mark.parametrize("n", [9, 10, 11])
def test_from_ten_values_on_the_interval_is_a_bootstrap_interval(n: int) -> None:
    values = list(np.random.default_rng(0).exponential(size=n))
    found = sample(values).interval
    assert found is not None
    if n < 10:
        expected = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected)
        return
    rng = np.random.default_rng(0)
    expected = stats.bootstrap((values,), np.mean, method="BCa", rng=rng).confidence_interval
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.high - np.mean(values) > np.mean(values) - found.low  # the sample is skewed


def test_intervals_end_at_the_bounds_of_values_and_of_differences() -> None:
    modes, others = sample([8, 8, 7], 0, 8), sample([0, 1, 0], 0, 8)
    assert modes.interval == pytest.approx((stats.t.interval(0.95, 2, 23 / 3, 1 / 3)[0], 8, True))
    assert others.interval == pytest.approx((0, stats.t.interval(0.95, 2, 1 / 3, 1 / 3)[1], True))
    assert sample([8, 5, 8], 0, 8).minus(sample([0, 0, 0], 0, 8)).interval[1:] == (8, True)
    fid = sample([1.0, 9.0, 2.0], 0, float("inf"))
    assert fid.interval.low == 0
    assert not fid.minus(sample([2.0, 3.0, 4.0], 0, float("inf"))).interval.is_cut
    assert sample([2.0, 3.0], 5, 6).interval == (2.5, 6, True)  # values that cannot be


def test_values_without_spread_cause_no_division_by_zero() -> None:
    assert sample([]).minus(sample([])).values == []
    single = sample([3.0]).minus(sample([1.0]))
    assert (single.mean, single.interval, single.p, single.smallest_effect()) == (2.0, None, None, None)
    # The differences are equal up to rounding, and the sign test of three seeds has at least p = 1/4.
    equal = sample([0.3, 0.4, 0.5]).minus(sample([0.1, 0.2, 0.3]))
    assert (equal.interval, equal.p, equal.smallest_effect()) == (None, 0.25, None)
    assert sample([0.0, 0.0, 0.0]).p == 1
    assert sample([2.0] * 12).interval is None
    assert (sample([1.0]).sd, sample([2.0, 2.0]).sd) == (None, 0)


def test_holms_correction_equals_a_computation_by_hand() -> None:
    # Sorted: 0.005 x 4, 0.011 x 3 = 0.033, 0.02 x 2 = 0.040, 0.03 x 1, which may not fall below 0.040.
    found = holm(dict(enumerate([0.02, 0.005, 0.03, 0.011])), 4)
    assert [*found.values()] == pytest.approx([0.04, 0.02, 0.04, 0.033])
    assert holm({"a": 0.6, "b": None, "c": 0.4}, 2) == pytest.approx({"a": 0.8, "c": 0.8})
    assert holm({"a": 0.01, "b": None}, 5) == pytest.approx({"a": 0.05})
    assert holm({"a": 0.7, "b": 0.9, "c": 0.8}, 3) == {"a": 1, "b": 1, "c": 1}
    assert holm({"a": None}, 3) == holm({}, 0) == {}


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.05), (3, 0.05), (3, 0.05 / 7), (5, 0.05), (20, 0.01)])
def test_the_smallest_effect_is_detected_with_the_given_power(n: int, alpha: float) -> None:
    """The power is integrated over the distribution of the sample deviation, without the noncentral t."""
    effect = smallest_effect(2.0, n, alpha)
    shift, critical = effect / 2 * sqrt(n), stats.t.ppf(1 - alpha / 2, n - 1)

    def density(ratio: float) -> float:
        power = stats.norm.cdf(shift - critical * ratio) + stats.norm.cdf(-shift - critical * ratio)
        return power * stats.chi.pdf(ratio * sqrt(n - 1), n - 1) * sqrt(n - 1)

    assert integrate.quad(density, 0, 8, limit=300)[0] == pytest.approx(0.8, abs=1e-6)


def test_simulated_experiments_detect_the_smallest_effect_with_power_80_percent() -> None:
    effect = smallest_effect(1.0, 4)
    samples = np.random.default_rng(0).normal(effect, 1, (20_000, 4))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


def test_with_three_seeds_the_interval_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(0)
    found = [sample(rng.normal(5, 2, 3)).interval for _ in range(2000)]
    covered = np.mean([one.low <= 5 <= one.high for one in found])
    assert covered == pytest.approx(0.95, abs=0.015)  # three standard errors


# The bounds of the metrics of the committed studies, by name.
BOUNDS = {
    "fid": (0, np.inf),
    "is": (1, np.inf),
    "modes": (0, 8),
    "high_quality": (0, 1),
    "reverse_kl": (0, np.inf),
}


def as_printed(mean: float, ends: Iterable[float], like: str) -> str:
    """A mean and an interval with the decimals, signs and brackets of a cell."""
    has_sign, places = like[0] == "+" or "[+" in like or "[-" in like, len(like.split()[0].partition(".")[2])
    spec = f"{'+' if has_sign else ''},.{places}f"
    low, high = ends
    text = [f"{value:{spec}}" for value in (mean, low, high)]
    return f"{text[0]} [{text[1]}, {text[2]}]"


@pytest.mark.parametrize(
    "path",
    sorted(
        suite.with_name("results.csv")
        for suite in ROOT.glob("experiments/*/suite.yaml")
        if suite.with_name("results.csv").exists()
    ),
    ids=lambda path: path.parent.name,
)
def test_the_numbers_of_a_committed_page_follow_from_its_table(path: Path) -> None:
    """Means, intervals, p-values and smallest effects by pandas, scipy and statsmodels alone."""
    suite = yaml.safe_load((path.parent / "suite.yaml").read_text())
    table = pd.read_csv(path, converters={"metrics": json.loads}).sort_values(
        ["numerics", "finished"], kind="stable"
    )
    table = table.drop_duplicates(["arm", "seed"], keep="last").set_index(["seed", "arm"])
    text = (path.parent / "README.md").read_text()
    tables = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        for block in text.split("\n\n") if block.startswith("| arm")
    ]  # fmt: skip
    printed = {(row[0].strip("`"), name): cell for head, _, *rows in tables for row in rows
               for name, cell in zip(head, row, strict=True)}  # fmt: skip
    arms, reference = list(suite["arms"]), suite.get("reference") or next(iter(suite["arms"]))
    p_values, checked = {}, 0
    for i, metric in enumerate(suite["metrics"]):
        column = next(name for _, name in printed if f"`{metric}" in name and "[95 %]" in name)
        full, bounds = column.split("`")[1], BOUNDS.get(metric, (-np.inf, np.inf))
        values = table["metrics"].map(lambda records, full=full: records[full]["value"]).unstack("arm")
        for arm in values:
            own = values[arm].dropna()
            if own.std() > 0:
                ends = np.clip(stats.t.interval(0.95, len(own) - 1, own.mean(), own.sem()), *bounds)
                assert printed[arm, column] == as_printed(own.mean(), ends, printed[arm, column])
                checked += 1
            difference = (values[arm] - values[reference]).dropna()
            if i or arm == reference or not difference.std() > 0:
                continue
            p_values[arm] = stats.ttest_rel(values[arm], values[reference], nan_policy="omit").pvalue
            cell, width = printed[arm, f"less `{reference}` [95 %]"], bounds[1] - bounds[0]
            ends = stats.t.interval(0.95, len(difference) - 1, difference.mean(), difference.sem())
            assert cell == as_printed(difference.mean(), np.clip(ends, -width, width), cell)
            power = TTestPower().solve_power(nobs=len(difference), alpha=0.05, power=0.8) * difference.std()
            assert printed[arm, "smallest effect"] == f"{power:.{len(cell.split()[0].partition('.')[2])}f}"
    planned = [*p_values.values(), *[1.0] * (len(arms) - 1 - len(p_values))]
    for arm, p in zip(p_values, multipletests(planned, method="holm")[1] if planned else [], strict=False):
        assert printed[arm, "p (Holm)"] == ("< 0.001" if p < 0.001 else f"{p:.{3 if p < 0.1 else 2}f}")
    assert checked or suite["seeds"] == 1
