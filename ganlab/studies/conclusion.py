"""What the numbers of a suite say about the order of its arms, and what its seeds can show."""

from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from ganlab.studies.analysis import Analysis
from ganlab.studies.spec import Suite
from ganlab.studies.statistics import ALPHA, holm, smallest_effect, summaries


def order(suite: Suite, analysis: Analysis) -> dict[str, Any]:
    """How the order of the arms compares with the published one; empty if no two arms can be compared."""
    arms = [arm for arm in suite.order if analysis.values[arm].count()]
    if len(arms) < 2:
        return {}
    values = analysis.values[arms] * (-1 if analysis.metrics[0].better == "lower" else 1)
    means, pairs = values.mean(), list(combinations(arms, 2))  # the arm published as better is the first one
    tests = summaries(pd.DataFrame({pair: values[pair[0]] - values[pair[1]] for pair in pairs}))
    is_shown = holm(tests.p, comb(len(suite.order), 2)) < ALPHA
    kept, shown = (tests["mean"] > 0)[is_shown].sum(), is_shown.sum()
    return {
        "verdict": "No" if kept < shown else "Yes" if kept == len(pairs) else "Undecided",
        "pairs": len(pairs), "kept": kept, "shown": shown,
        "tau": np.nan_to_num(kendalltau(range(len(arms), 0, -1), means).statistic),
        "best": means.sort_values(ascending=False, kind="stable").index,
    }  # fmt: skip


def foresight(suite: Suite) -> str:
    """How large a difference the seeds can show; the unit is the spread over them, which is not known yet."""
    arms, seeds = suite.comparisons, len(suite.seeds)
    if not arms or seeds == 1:
        return "no difference can be shown: there is nothing to compare, or one seed, which has no spread"
    alone, strictest = (smallest_effect(1.0, seeds, alpha) for alpha in (ALPHA, ALPHA / arms))
    effect = f"a difference of {alone:.1f} standard deviations of the paired differences in one test alone"
    step = f"of {strictest:.1f} at the first step of Holm's correction for {arms}"
    return f"{seeds} seeds show, with 80 % power at 5 %, {effect}, {step}"
