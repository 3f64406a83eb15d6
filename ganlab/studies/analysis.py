"""The runs of a study as a data frame, and the analysis of a suite: its arms, and their order."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import combinations, product
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from scipy.stats import kendalltau

from ganlab.config import identity
from ganlab.config.compose import compose
from ganlab.core.errors import require
from ganlab.metrics.protocols import MetricRecord, bounds, is_metric_value, require_same_protocol
from ganlab.studies.spec import Arm, Suite
from ganlab.studies.statistics import ALPHA, holm, smallest_effect, summaries
from ganlab.studies.table import Label, Row, latest

# Arms may be sampled in different ways, which may be the question; torch is a circumstance.
FREE = ("sampler", "classes", "torch")
COLUMNS = [one.name for one in fields(Row)]


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A data frame with a line for each run and metric; a run without metrics has one line.

    Its columns are those of results.csv, `metric` (the full name), and the keys of its record, as `value`.
    """
    lines = [
        {**record, **vars(row), "metric": name, "value": record.get("value")}
        for row in rows
        for name, record in (row.metrics.items() or [(None, {})])
    ]
    return pd.DataFrame(lines, columns=None if lines else [*COLUMNS, "metric"])


@dataclass(frozen=True)
class Metric:
    """A metric of a study in finished runs.

    A line of `arms` has the columns of `summaries` up to `high`, of its `values`; the `published` value; and
    whether it is `inside` the interval of the mean.
    """

    name: str  # the full one
    better: str  # lower or higher; empty if it is unknown
    bounds: tuple[float, float]
    records: Sequence[tuple[str, MetricRecord]]  # with the arms of the runs
    floors: pd.Series  # the values of real data in records
    values: pd.DataFrame  # by seed and arm
    arms: pd.DataFrame


@dataclass(frozen=True)
class Analysis:
    """The analysis of a suite, of which the first metric answers the question.

    A line of `arms` has those of the first metric; `summaries` of the differences, with the prefix
    `difference_`; the corrected `p`, the `verdict`, and the smallest effect at Holm's `first_step`; how many
    runs `finished`, `failed`, `diverged`, or were `lost` in either way; the mean `seconds`; and how many runs
    were `unlike` the reference's in their circumstances.
    """

    rows: list[Row]  # those that count, one for each arm and seed
    missing: list[Label]  # the arms and seeds without one
    interrupted: list[Row]  # of missing runs
    changed: int  # the number of rows of another config than their arm has now
    ignored: int  # that of rows without an arm or seed of the suite, or that others replace
    metrics: list[Metric]
    values: pd.DataFrame  # of the first metric, by seed and arm, without the unlike runs
    differences: pd.DataFrame  # to the reference, by seed and compared arm
    arms: pd.DataFrame


def analyse(suite: Suite, rows: Sequence[Row]) -> Analysis:
    """The analysis of the rows of a suite. Raises `ConfigError` if protocols of one metric differ.

    Of several rows of an arm and seed, the one of the latest numerics counts; of these, the latest.
    """
    configs, runs = config_hashes(suite), list(product(suite.arms, suite.seeds))
    current = [row for row in rows if row.config == configs.get(row.arm, row.config)]
    begun = latest(row for row in current if row.status == "interrupted")
    ended = latest(row for row in current if row.status != "interrupted")
    counted = [ended[run] for run in runs if run in ended]
    missing = [run for run in runs if run not in ended]
    interrupted = [begun[run] for run in missing if run in begun]
    ignored = len(current) - len(counted) - len(interrupted)
    metrics = [measured(metric, counted, suite.arms, FREE) for metric in suite.metrics]
    where = pd.DataFrame(index=metrics[0].values.index, columns=[*suite.arms], dtype=object)
    for row in (row for row in counted if row.status == "finished"):
        where.loc[row.seed, row.arm] = circumstances(row, suite.ignore)
    usual = where[[suite.reference, *suite.arms]].bfill(axis=1).iloc[:, 0]
    is_unlike = where.notna() & where.ne(usual, axis=0)
    values = metrics[0].values.mask(is_unlike)
    differences = values.sub(values[suite.reference], axis=0).drop(columns=suite.reference)
    differences = differences.dropna(axis=1, how="all")
    arms = compared(suite, metrics[0], differences, counted).assign(unlike=is_unlike.sum())
    changed = len(rows) - len(current)
    return Analysis(counted, missing, interrupted, changed, ignored, metrics, values, differences, arms)


def config_hashes(suite: Suite) -> dict[str, str]:
    """The hash of each arm's config. An arm that cannot be composed here has none, and all its rows count."""
    found = {}
    for name, arm in suite.arms.items():
        with suppress(HydraException, OmegaConfBaseException, ValueError):
            found[name] = identity.config(compose(*suite.base, *arm.overrides))
    return found


def measured(metric: str, rows: Sequence[Row], arms: Mapping[str, Arm], free: Collection[str]) -> Metric:
    """A metric in rows, one for each arm and seed; a study may give only the beginning of its name.

    Raises `ConfigError` if several metrics begin so, or if protocols differ in keys that are not `free`.
    """
    by_run = {f"{row.arm} (seed {row.seed})": row for row in rows}
    begins = re.compile(rf"{re.escape(metric)}([/_].*)?")
    names = {name: run for run, row in by_run.items() for name in row.metrics if begins.fullmatch(name)}
    where = ", ".join(f"{name} in {run}" for name, run in names.items())
    require(len(names) < 2, f"{metric} is {where}", "name one of them in metrics, or measure both alike")
    name = next(iter(names), metric)
    done = {run: row for run, row in by_run.items() if row.status == "finished" and name in row.metrics}
    if done:
        require_same_protocol(name, {run: row.metrics[name] for run, row in done.items()}, free)
    records = [(row.arm, row.metrics[name]) for row in done.values()]
    record = records[0][1] if records else {}
    floors = pd.Series([one["floor"] for _, one in records if is_metric_value(one.get("floor"))], dtype=float)
    data = frame(done.values()).query("metric == @name").pivot(index="seed", columns="arm", values="value")
    values, limits = data.reindex(columns=[*arms]).astype(float), bounds(name, record)
    values = values.where(np.isfinite(values))
    found: Any = summaries(values, limits).drop(columns=["p", "effect"]).assign(published="", inside="")
    published = {arm: one.published[metric] for arm, one in arms.items() if metric in one.published}
    for arm, (value, spread) in published.items():
        low, high, n = found.loc[arm, ["low", "high", "n"]].astype(float)
        inside = "inside" if low <= value <= high else "outside" if low <= high else "no interval"
        text = f"{value:g}" + ("" if spread is None else f" ± {spread:g}")
        found.loc[arm, ["published", "inside"]] = [text, inside if n else ""]
    better = next((way for way in ("lower", "higher") if way == record.get("better")), "")
    return Metric(name, better, limits, records, floors, values, found)


def compared(suite: Suite, metric: Metric, differences: pd.DataFrame, rows: Sequence[Row]) -> pd.DataFrame:
    """The lines of `Analysis.arms` but for `unlike`."""
    low, high = metric.bounds
    found = summaries(differences, (low - high, high - low)).add_prefix("difference_")
    p, alpha = holm(found.difference_p, suite.comparisons), ALPHA / max(suite.comparisons, 1)
    side = np.where(found.difference_mean > 0, "higher", "lower")
    spreads = zip(found.difference_sd, found.difference_n, strict=True)
    first_step = [smallest_effect(sd, n, alpha) if sd > 0 else np.nan for sd, n in spreads]
    found = found.assign(p=p, verdict=np.where(p < ALPHA, side, "no difference shown"), first_step=first_step)
    runs, kinds = frame(rows).drop_duplicates(["arm", "seed"]), ["finished", "failed", "diverged"]
    ends = pd.crosstab(runs.arm, runs.status).reindex(index=[*suite.arms], columns=kinds, fill_value=0)
    seconds = runs[runs.status == "finished"].groupby("arm").seconds.mean()
    return metric.arms.join(found).join(ends.assign(lost=ends.failed + ends.diverged, seconds=seconds))


def circumstances(row: Row, ignored: Collection[str] = ()) -> str:
    """What must be the same in runs that are compared: the device, whatever its threads, and torch."""
    torch = next((record["torch"] for record in row.metrics.values() if "torch" in record), "unknown")
    found = {"device": re.sub(r", \d+ threads?$", "", row.device), "torch": f"torch {torch}"}
    return " with ".join(found[key] for key in found if key not in ignored)


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
