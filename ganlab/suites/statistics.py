"""What a few seeds say: means, intervals, paired tests, and what could not have been seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy import stats
from scipy.optimize import brentq

LEVEL = 0.95
ALPHA = 0.05  # two-sided
POWER = 0.8
# From here on a bootstrap covers what it says; with 3 seeds its 95 % interval covers 74 %.
ENOUGH = 10
RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a mean."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Comparison:
    """One arm against another over the seeds that both have.

    interval is None where there is no spread to make one of; p, of the paired t test, where there is one
    pair or none; smallest, the effect that had been seen with 80 % power at 5 %, where there is no spread.
    """

    differences: tuple[float, ...]
    mean: float
    interval: Interval | None
    p: float | None
    smallest: float | None


def sd(values: Sequence[float]) -> float | None:
    """The standard deviation with n - 1 below the line; None of fewer than two values."""
    if len(values) < 2:
        return None
    found = stdev(values)
    # Equal numbers that came about by different sums differ in the last bits.
    return found if found > 1e-12 * max(map(abs, values)) else 0.0


def interval(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of the mean: Student's below ten values, from there on a bootstrap's (BCa).

    None where there is no spread: fewer than two values, or all of them equal.
    """
    n, spread = len(values), sd(values)
    if not spread:
        return None
    if n < ENOUGH:
        low, high = stats.t.interval(LEVEL, n - 1, fmean(values), spread / math.sqrt(n))
    else:
        rng = np.random.default_rng(0)  # one report of one file
        drawn = stats.bootstrap(
            [values], np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="BCa", rng=rng
        )
        low, high = drawn.confidence_interval
    return Interval(float(low), float(high))


def paired_p(differences: Sequence[float]) -> float | None:
    """Of the two-sided paired t test; None of fewer than two differences.

    Equal differences leave no spread to divide by. Then it is that of the exact test over their signs,
    2^(1 - n), or 1 where they are zero.
    """
    spread = sd(differences)
    if spread is None:
        return None
    if spread == 0:
        return 1.0 if differences[0] == 0 else 2.0 ** (1 - len(differences))
    return float(stats.ttest_1samp(differences, 0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's steps (1979), in the order that they came in."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


def smallest_effect(spread: float | None, n: int, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """The mean difference that a two-sided paired t test sees with this power, in the differences' unit.

    Args:
        spread: the standard deviation of the differences.
        n: how many pairs.

    Returns:
        None where the spread is none or not known.
    """
    if not spread or n < 2:
        return None
    critical = stats.t.ppf(1 - alpha / 2, n - 1)

    def excess(shift: float) -> float:
        """Of the test's power over what is asked, where the mean is `shift` standard errors from 0."""
        upper = stats.nct.sf(critical, n - 1, shift)
        # Below 1e-12 at shifts from 5 on, where scipy may say NaN.
        lower = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))
        return float(upper + lower) - power

    high = critical + 1.0
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 0, high) * spread / math.sqrt(n))


def compare(mine: Sequence[float], theirs: Sequence[float]) -> Comparison | None:
    """Values less those of the same seeds elsewhere; None without any."""
    differences = [x - y for x, y in zip(mine, theirs, strict=True)]
    if not differences:
        return None
    p, smallest = paired_p(differences), smallest_effect(sd(differences), len(differences))
    return Comparison(tuple(differences), fmean(differences), interval(differences), p, smallest)
