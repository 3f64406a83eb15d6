"""Statistics over a few seeds: means, intervals, paired tests, and the smallest detectable effect."""

from math import inf, sqrt

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.multitest import multipletests

LEVEL, ALPHA, POWER = 0.95, 0.05, 0.8  # of intervals, and of two-sided tests
ENOUGH = 10  # values for a bootstrap; with 3 values, its 95 % interval covers the mean in 74 % of the cases


def summaries(table: pd.DataFrame, bounds: tuple[float, float] = (-inf, inf)) -> pd.DataFrame:
    """The statistics of each column, as a row. NaN are left out; no other value lies beyond the bounds.

    The columns are `n`; `mean`; `sd`, with n - 1 in the denominator, 0 if values are equal up to rounding;
    `low` and `high`, the 95 % interval of the mean; `p` of the two-sided t test of the mean against 0, which
    is the paired test if the values are differences; and `effect`, the mean that this test detects with a
    power of 80 %. Equal values have no interval, and the p-value of the sign test; a single one has none.

    The interval is Student's below ten values, otherwise a bootstrap's (BCa). It is cut at the bounds; this
    changes no coverage, because no mean lies beyond them.
    """
    found = [summary(table[name].dropna(), bounds) for name in table]
    columns = ["n", "mean", "sd", "low", "high", "p", "effect"]
    return pd.DataFrame(found, index=table.columns, columns=columns, dtype=float)


def summary(values: pd.Series, bounds: tuple[float, float]) -> dict[str, float]:
    n, mean, sd = len(values), values.mean(), values.std()
    # Equal numbers that were computed by different sums differ in the last bits.
    if sd <= 1e-12 * values.abs().max():
        return {"n": n, "mean": mean, "sd": 0, "p": 2.0 ** (1 - n) if values.any() else 1}
    found = {"n": n, "mean": mean, "sd": sd}
    if n < 2:
        return found
    test = stats.ttest_1samp(values, 0)
    ends = test.confidence_interval(LEVEL)
    if n >= ENOUGH:
        rng = np.random.default_rng(0)  # so that a report is reproducible
        ends = stats.bootstrap([values], np.mean, method="BCa", rng=rng).confidence_interval
    cut = {"low": max(ends[0], min(bounds[0], mean)), "high": min(ends[1], max(bounds[1], mean))}
    return found | cut | {"p": test.pvalue, "effect": smallest_effect(sd, n)}


def holm(p: pd.Series, planned: int) -> pd.Series:
    """p-values after Holm's correction (1979) for all planned tests.

    Tests without a p-value yet count as tests that show nothing. Otherwise a suite of which half has run
    would be corrected for half of its tests.
    """
    known = p.dropna()
    padded = [*known, *[1.0] * (planned - len(known))]
    corrected = multipletests(padded, method="holm")[1][: len(known)] if len(known) else []
    return pd.Series(corrected, known.index, dtype=float).reindex(p.index)


def smallest_effect(spread: float, n: int, alpha: float = ALPHA) -> float:
    """The mean of n differences of this spread that a two-sided t test detects with a power of 80 %.

    `solve_power` of statsmodels 0.15 is not used: for few pairs it returns 10 or 5.5 without a warning.
    """
    critical = stats.t.ppf(1 - alpha / 2, n - 1)

    def excess(shift: float) -> float:
        return float(stats.nct.sf(critical, n - 1, shift)) - POWER  # the other tail has less than 1e-6

    return float(brentq(excess, 0, 2 * critical + 2) * spread / sqrt(n))
