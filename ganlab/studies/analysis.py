"""The runs of a study as a data frame, and the analysis of a suite, arm by arm."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import product
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ganlab.config import identity
from ganlab.config.compose import compose
from ganlab.core.errors import require
from ganlab.metrics.protocols import MetricRecord, bounds, require_same_protocol
from ganlab.studies.spec import Arm, Suite
from ganlab.studies.statistics import ALPHA, holm, smallest_effect, summaries
from ganlab.studies.table import Row

# Arms may be sampled in different ways, which may be the question; torch is a circumstance.
FREE = ("sampler", "classes", "torch")
COLUMNS = [one.name for one in fields(Row)]


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A data frame with a line for each run and metric; a run without metrics has one line.

    The columns are those of results.csv, `metric` (the full name), and what its record has, such as `floor`;
    `value` is that of the metric.
    """
    lines = [
        {**record, **vars(row), "metric": name, "value": record.get("value")}
        for row in rows
        for name, record in (row.metrics.items() or [(None, {})])
    ]
    return pd.DataFrame(lines, columns=None if lines else [*COLUMNS, "metric"])


@dataclass(frozen=True)
class Metric:
    """A metric of a study: its full name, and the records of finished runs.

    `better` is "lower", "higher", or empty if it is unknown. `values` has a column for each arm and a line
    for each seed. `arms` has a line for each arm: the columns of `summaries` up to `high`, the `published`
    value, and whether it is `inside` the interval of the mean.
    """

    name: str
    better: str
    bounds: tuple[float, float]
    records: Sequence[tuple[str, MetricRecord]]  # with the arms of the runs
    values: pd.DataFrame
    arms: pd.DataFrame


@dataclass(frozen=True)
class Analysis:
    """The analysis of a suite, of which the first metric answers the question.

    `rows` are those that count, one for each arm and seed; `missing` are the runs without one. `interrupted`
    are rows of runs that may continue. The number `changed` is that of rows of another config than their arm
    has now, and `ignored` that of rows without an arm or seed of the suite, or that a later row replaces.

    `values` are those of the first metric, by seed and arm, without runs in other circumstances than the
    reference's; `differences` are those to the reference, of arms that have any. `arms` has a line for each
    arm: the first metric's `arms`; `summaries` of the differences, with the prefix `difference_`; the
    corrected `p`, the smallest effect at Holm's `first_step` and the `verdict`; how many runs `finished`,
    `failed`, `diverged`, or were `lost` in either way; the mean `seconds`; and how many runs are `unlike` the
    reference's in their circumstances.
    """

    rows: list[Row]
    missing: list[tuple[str, int]]
    interrupted: list[Row]
    changed: int
    ignored: int
    metrics: list[Metric]
    values: pd.DataFrame
    differences: pd.DataFrame
    arms: pd.DataFrame


def analyse(suite: Suite, rows: Sequence[Row]) -> Analysis:
    """The analysis of the rows of a suite.

    Of several rows of an arm and seed, the one of the latest numerics counts; of these, the latest.

    Raises:
        ConfigError: values of one metric were measured with different protocols.
    """
    configs, runs = config_hashes(suite), list(product(suite.arms, suite.seeds))
    current = [row for row in rows if row.config == configs.get(row.arm, row.config)]
    latest, begun = dict[tuple[str, int], Row](), dict[tuple[str, int], Row]()
    for row in sorted(current, key=attrgetter("numerics", "finished")):
        (begun if row.status == "interrupted" else latest)[row.arm, row.seed] = row
    counted = [latest[run] for run in runs if run in latest]
    missing = [run for run in runs if run not in latest]
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
    arms = metrics[0].arms.join(comparison(suite, metrics[0], differences)).join(outcomes(suite, counted))
    arms["unlike"] = is_unlike.sum()
    changed = len(rows) - len(current)
    return Analysis(counted, missing, interrupted, changed, ignored, metrics, values, differences, arms)


def config_hashes(suite: Suite) -> dict[str, str]:
    """The hash of each arm's config. An arm that cannot be composed here has none, and all its rows count."""
    found = {}
    for arm in suite.arms.values():
        with suppress(HydraException, OmegaConfBaseException, ValueError):
            found[arm.name] = identity.config(compose(*suite.base, *arm.overrides))
    return found


def measured(
    metric: str, rows: Sequence[Row], arms: Mapping[str, Arm], may_differ: Collection[str]
) -> Metric:
    """A metric in rows, one for each arm and seed; a study may give only the beginning of its name.

    Raises:
        ConfigError: several metrics begin so, or protocols differ in other keys than some that may.
    """
    by_run = {f"{row.arm} (seed {row.seed})": row for row in rows}
    begins = re.compile(rf"{re.escape(metric)}([/_].*)?")
    names = {name: run for run, row in by_run.items() for name in row.metrics if begins.fullmatch(name)}
    where = ", ".join(f"{name} in {run}" for name, run in names.items())
    require(len(names) < 2, f"{metric} is {where}", "name one of them in metrics, or measure both alike")
    name = next(iter(names), metric)
    done = {run: row for run, row in by_run.items() if row.status == "finished" and name in row.metrics}
    if done:
        require_same_protocol(name, {run: row.metrics[name] for run, row in done.items()}, may_differ)
    records = [(row.arm, row.metrics[name]) for row in done.values()]
    record = records[0][1] if records else {}
    data = frame(done.values()).query("metric == @name").pivot(index="seed", columns="arm", values="value")
    values, limits = data.reindex(columns=[*arms]).astype(float), bounds(name, record)
    values = values.where(np.isfinite(values))
    found: Any = summaries(values, limits).drop(columns=["p", "effect"]).assign(published="", inside="")
    for arm, (value, spread) in (
        (arm, arms[arm].published[metric]) for arm in arms if metric in arms[arm].published
    ):
        low, high, n = found.loc[arm, ["low", "high", "n"]].astype(float)
        inside = "inside" if low <= value <= high else "outside" if low <= high else "no interval"
        text = f"{value:g}" + ("" if spread is None else f" ± {spread:g}")
        found.loc[arm, ["published", "inside"]] = [text, inside if n else ""]
    return Metric(name, record.get("better", ""), limits, records, values, found)


def comparison(suite: Suite, metric: Metric, differences: pd.DataFrame) -> pd.DataFrame:
    """The columns of `Analysis.arms` that compare an arm with the reference."""
    low, high = metric.bounds
    found = summaries(differences, (low - high, high - low)).add_prefix("difference_")
    p, alpha = holm(found.difference_p, suite.comparisons), ALPHA / max(suite.comparisons, 1)
    kinds = {
        "not tested": p.isna(), "no difference shown": p >= ALPHA,
        "different": pd.Series(not metric.better, p.index),
        "better": (found.difference_mean > 0) == (metric.better == "higher"),
    }  # fmt: skip
    verdict = np.select([*kinds.values()], [*kinds], "worse")
    spreads = zip(found.difference_sd, found.difference_n, strict=True)
    first_step = [smallest_effect(sd, n, alpha) if sd > 0 else np.nan for sd, n in spreads]
    return found.assign(p=p, verdict=verdict, first_step=first_step)


def outcomes(suite: Suite, rows: Sequence[Row]) -> pd.DataFrame:
    """How the runs of each arm ended, and the mean seconds of training of finished ones."""
    runs, kinds = frame(rows).drop_duplicates(["arm", "seed"]), ["finished", "failed", "diverged"]
    found = pd.crosstab(runs.arm, runs.status).reindex(index=[*suite.arms], columns=kinds, fill_value=0)
    seconds = runs[runs.status == "finished"].groupby("arm").seconds.mean()
    return found.assign(lost=found.failed + found.diverged, seconds=seconds)


def circumstances(row: Row, ignored: Collection[str] = ()) -> str:
    """What must be the same in runs that are compared: the device, whatever its threads, and torch."""
    torch = next((record["torch"] for record in row.metrics.values() if "torch" in record), "unknown")
    found = {"device": re.sub(r", \d+ threads?$", "", row.device), "torch": f"torch {torch}"}
    return " with ".join(found[key] for key in found if key not in ignored)
