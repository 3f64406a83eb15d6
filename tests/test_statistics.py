"""The statistics of a few seeds, against scipy, hand computations and simulated experiments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import inf, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import integrate, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from support.small_games import ROOT

from ganlab.studies.statistics import holm, smallest_effect, summaries

ONE = [11.2, 9.7, 10.4, 12.9, 10.1]
OTHER = [12.5, 10.9, 10.3, 15.0, 11.8]


def summary(values: Iterable[float], *bounds: float) -> Any:
    return summaries(pd.DataFrame({"a": [*values]}), *([bounds] if bounds else [])).loc["a"]


def interval(values: Iterable[float], *bounds: float) -> list[float]:
    return list(summary(values, *bounds)[["low", "high"]])


def test_means_deviations_and_intervals_equal_those_of_scipy() -> None:
    found, expected = summary([*ONE, nan]), stats.t.interval(0.95, 4, loc=np.mean(ONE), scale=stats.sem(ONE))
    assert list(found[["n", "mean", "sd"]]) == pytest.approx([5, np.mean(ONE), np.std(ONE, ddof=1)])
    assert list(found[["low", "high"]]) == pytest.approx(expected)


def test_differences_are_tested_as_pairs() -> None:
    differences = np.subtract(ONE, OTHER)
    found, expected = summary(differences), stats.ttest_rel(ONE, OTHER)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert list(found[["low", "high"]]) == pytest.approx(list(expected.confidence_interval(0.95)))
    assert found["effect"] == pytest.approx(smallest_effect(np.std(differences, ddof=1), 5))


@pytest.mark.parametrize("n", [9, 10, 11])
def test_from_ten_values_on_the_interval_is_a_bootstrap_interval(n: int) -> None:
    values = list(np.random.default_rng(0).exponential(size=n))
    low, high = interval(values)
    if n < 10:
        expected = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (low, high) == pytest.approx(expected)
        return
    rng = np.random.default_rng(0)
    expected = stats.bootstrap((values,), np.mean, method="BCa", rng=rng).confidence_interval
    assert (low, high) == (expected.low, expected.high)
    assert high - np.mean(values) > np.mean(values) - low  # the sample is skewed


def test_intervals_end_at_the_bounds() -> None:
    assert interval([8, 8, 7], 0, 8) == pytest.approx([stats.t.interval(0.95, 2, 23 / 3, 1 / 3)[0], 8])
    assert interval([0, 1, 0], 0, 8) == pytest.approx([0, stats.t.interval(0.95, 2, 1 / 3, 1 / 3)[1]])
    assert interval([1.0, 9.0, 2.0], 0, inf)[0] == 0
    assert interval([2.0, 3.0], 5, 6) == [2.5, 6]  # values that cannot be


def test_values_without_spread_cause_no_division_by_zero() -> None:
    columns = ["n", "mean", "sd", "low", "high", "p", "effect"]
    for values, expected in [
        ([], [0, *[nan] * 6]),
        ([2.0], [1, 2, *[nan] * 5]),
        # The differences are equal up to rounding, and the sign test of three seeds has at least p = 1/4.
        (np.subtract([0.3, 0.4, 0.5], [0.1, 0.2, 0.3]), [3, 0.2, 0, nan, nan, 0.25, nan]),
        ([0.0] * 3, [3, 0, 0, nan, nan, 1, nan]),
        ([2.0] * 12, [12, 2, 0, nan, nan, 2**-11, nan]),
    ]:
        assert list(summary(values)[columns]) == pytest.approx(expected, nan_ok=True)


def test_holms_correction_equals_a_computation_by_hand() -> None:
    # Sorted: 0.005 x 4, 0.011 x 3 = 0.033, 0.02 x 2 = 0.040, 0.03 x 1, which may not fall below 0.040.
    def corrected(*p: float, planned: int) -> list[float]:
        return list(holm(pd.Series(p, dtype=float), planned))

    assert corrected(0.02, 0.005, 0.03, 0.011, planned=4) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    assert corrected(0.6, nan, 0.4, planned=2) == pytest.approx([0.8, nan, 0.8], nan_ok=True)
    assert corrected(0.01, nan, planned=5) == pytest.approx([0.05, nan], nan_ok=True)
    assert corrected(0.7, 0.9, 0.8, planned=3) == [1, 1, 1]
    assert corrected(nan, planned=3) == pytest.approx([nan], nan_ok=True)
    assert corrected(planned=0) == []


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
    found = summaries(pd.DataFrame(rng.normal(5, 2, (3, 2000))))
    covered = np.mean((found["low"] <= 5) & (found["high"] >= 5))
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
    printed = {}
    for section in re.split(
        "^## ", text, flags=re.MULTILINE
    ):  # those of further metrics begin with their names
        for block in (block for block in section.split("\n\n") if block.startswith("| arm")):
            head, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()]
            names = [name.replace("mean", section.partition("\n")[0]) for name in head]
            printed |= {(row[0].strip("`"), name): cell for row in rows
                        for name, cell in zip(names, row, strict=False)}  # fmt: skip
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
        assert printed[arm, "p (Holm)"] == f"{p:.2g}"
    assert checked or suite["seeds"] == 1
