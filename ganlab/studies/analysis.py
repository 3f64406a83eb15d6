"""The rows of a suite as a data frame, and their analysis, arm by arm."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ganlab.config import identity
from ganlab.config.compose import compose
from ganlab.core.errors import require
from ganlab.metrics.protocols import MetricRecord, bounds, require_same_protocol
from ganlab.studies.formatting import decimals
from ganlab.studies.spec import MAY_IGNORE, Arm, Suite
from ganlab.studies.statistics import ALPHA, Sample, holm
from ganlab.studies.table import Row

# Arms may be sampled in different ways, which may be the question; `unlike` compares the versions of torch.
FREE = ("sampler", "classes", "torch")
RUN = ["arm", "seed", "status", "device", "steps", "images", "seconds", "config", "numerics", "finished"]
RECORD = ["value", "floor", "better", "torch"]


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A data frame with a line for each run and metric; a run without metrics has one line.

    The columns are arm, seed, metric (the full name), value, floor, better, torch, and some of results.csv.
    """
    no_metric: dict[Any, Any] = {None: {}}
    lines = [
        [*(getattr(row, key) for key in RUN), metric, *(record.get(key) for key in RECORD)]
        for row in rows
        for metric, record in (row.metrics or no_metric).items()
    ]
    return pd.DataFrame(lines, columns=[*RUN, "metric", *RECORD])


@dataclass(frozen=True)
class ArmResult:
    """The analysis of an arm.

    `rows` has the row of each seed; `samples` the finite values of finished runs by metric, as the suite
    names it; and `difference` those of the first metric minus the reference's. It is empty if they are not
    compared, as if runs differ in circumstances, which `unlike` names. `p` is corrected.
    """

    arm: Arm
    rows: Mapping[int, Row]
    samples: Mapping[str, Sample]
    unlike: str
    difference: Sample
    p: float | None

    def count(self, *statuses: str) -> int:
        return sum(row.status in statuses for row in self.rows.values())

    @property
    def first(self) -> Sample:
        """The sample of the first metric, which answers the question."""
        return next(iter(self.samples.values()))

    @property
    def differs(self) -> bool:
        """Whether the arm differs from the reference, at 5 % after the correction."""
        return self.p is not None and self.p < ALPHA

    @property
    def direction(self) -> str:
        return "higher" if self.difference.mean > 0 else "lower"

    def inside(self, metric: str) -> str:
        """Whether the published value lies in the interval of the mean; empty if there is none."""
        sample = self.samples[metric]
        if metric not in self.arm.published or not sample.values:
            return ""
        around, value = sample.interval, self.arm.published[metric][0]
        return "no interval" if around is None else "yes" if around.low <= value <= around.high else "no"


@dataclass(frozen=True)
class Analysis:
    """The analysis of a suite; `names` and `records` are by metric, as the suite names it.

    `records` are those of finished runs, by arm and seed. `interrupted` are rows of runs that may continue,
    `changed` rows of another config than their arm has now, and `ignored` rows that do not count because the
    suite lacks their arm or seed, or because a later row replaces them.
    """

    suite: Suite
    names: Mapping[str, str]
    records: Mapping[str, Mapping[tuple[str, int], MetricRecord]]
    interrupted: list[Row]
    changed: list[Row]
    ignored: list[Row]
    arms: Mapping[str, ArmResult]

    @property
    def name(self) -> str:
        """The full name of the first metric."""
        return next(iter(self.names.values()))

    @property
    def rows(self) -> list[Row]:
        """All rows that count."""
        return [row for arm in self.arms.values() for row in arm.rows.values()]

    @property
    def compared(self) -> list[ArmResult]:
        """The arms that are compared with the reference."""
        return [arm for arm in self.arms.values() if arm.difference.values]

    def record(self, metric: str = "") -> MetricRecord:
        """A record of a metric, by default of the first one; all have the same protocol."""
        return next(iter(self.records[metric or self.suite.metrics[0]].values()), {})

    def places(self, metric: str = "") -> int:
        """The number of decimals with which a metric is printed, by default the first one."""
        return decimals(arm.samples[metric or self.suite.metrics[0]] for arm in self.arms.values())


def analyse(suite: Suite, rows: Iterable[Row]) -> Analysis:
    """The analysis of the rows of a suite.

    Of several rows of an arm and seed, the one of the latest numerics counts; of these, the latest.

    Raises:
        ConfigError: values of one metric were measured with different protocols.
    """
    configs, changed, interrupted, ignored = config_hashes(suite), list[Row](), list[Row](), list[Row]()
    counted = {arm: dict[int, Row]() for arm in suite.arms}
    for row in sorted(rows, key=lambda row: (row.numerics, row.finished)):
        is_known = row.arm in suite.arms and row.seed in suite.seeds
        if row.config != configs.get(row.arm, row.config):
            changed.append(row)
        elif is_known and row.status != "interrupted":
            ignored += [counted[row.arm][row.seed]] if row.seed in counted[row.arm] else []
            counted[row.arm][row.seed] = row
        else:
            (interrupted if is_known else ignored).append(row)
    counted = {arm: {seed: own[seed] for seed in suite.seeds if seed in own} for arm, own in counted.items()}
    waiting = [row for row in interrupted if row.seed not in counted[row.arm]]
    names = {metric: full_name(metric, counted) for metric in suite.metrics}
    records = {metric: records_of(name, counted) for metric, name in names.items()}
    analysis = Analysis(suite, names, records, waiting, changed, ignored, {})
    return replace(analysis, arms=results(analysis, counted))


def results(analysis: Analysis, counted: Mapping[str, Mapping[int, Row]]) -> dict[str, ArmResult]:
    """The result of each arm, from the rows that count, by arm and seed."""
    suite, first = analysis.suite, analysis.suite.metrics[0]
    samples: dict[str, dict[str, Sample]] = {arm: {} for arm in suite.arms}
    for metric, records in analysis.records.items():
        limits = bounds(analysis.names[metric], analysis.record(metric))
        values = {key: record["value"] for key, record in records.items() if math.isfinite(record["value"])}
        for arm, own in samples.items():
            own[metric] = Sample({seed: value for (of, seed), value in values.items() if of == arm}, limits)
    reference = samples[suite.reference][first]
    base = next(
        (arm for arm in (suite.reference, *suite.arms) if samples[arm][first].by_seed), suite.reference
    )
    unlikes = {arm: unlike(rows, counted[base], suite.ignore) for arm, rows in counted.items()}
    differences = {
        arm: Sample({}) if unlikes[arm] or arm == suite.reference else own[first].minus(reference)
        for arm, own in samples.items()
    }  # fmt: skip
    p = holm({arm: difference.p for arm, difference in differences.items()}, suite.comparisons)
    return {
        name: ArmResult(arm, counted[name], samples[name], unlikes[name], differences[name], p.get(name))
        for name, arm in suite.arms.items()
    }


def config_hashes(suite: Suite) -> dict[str, str]:
    """The hash of each arm's config. An arm that cannot be composed here has none, and all its rows count."""
    found = {}
    for arm in suite.arms.values():
        with suppress(HydraException, OmegaConfBaseException, ValueError):
            found[arm.name] = identity.config(compose(*suite.base, *arm.overrides))
    return found


def circumstances(row: Row) -> dict[str, str]:
    """What must be the same in runs that are compared: the device, whatever its threads, and torch."""
    torch = next((record["torch"] for record in row.metrics.values() if "torch" in record), "unknown")
    return {"device": re.sub(r", \d+ threads?$", "", row.device), "torch": f"torch {torch}"}


def unlike(mine: Mapping[int, Row], theirs: Mapping[int, Row], ignored: Collection[str]) -> str:
    """The circumstances in which finished runs, by seed, differ from others; empty if there are none."""
    parts = []
    for key in (key for key in MAY_IGNORE if key not in ignored):
        own, others = (
            {seed: circumstances(row)[key] for seed, row in rows.items() if row.status == "finished"}
            for rows in (mine, theirs)
        )
        has_other = {*own.values()} - {*others.values()}
        if others and (has_other or any(own[seed] != others[seed] for seed in own.keys() & others)):
            parts.append(", not ".join(" and ".join(sorted({*found.values()})) for found in (own, others)))
    return "; ".join(parts)


def full_name(metric: str, counted: Mapping[str, Mapping[int, Row]]) -> str:
    """The full name of a metric, of which a suite may give only the beginning; it is the same in all rows."""
    found: dict[str, Row] = {}
    for row in (row for rows in counted.values() for row in rows.values()):
        for name in row.metrics:
            if name == metric or name.startswith((f"{metric}/", f"{metric}_")):
                found.setdefault(name, row)
    where = ", ".join(f"{name} in {label(row)}" for name, row in found.items())
    require(len(found) < 2, f"{metric} is {where}", "name one of them in metrics, or measure both alike")
    return next(iter(found), metric)


def records_of(name: str, counted: Mapping[str, Mapping[int, Row]]) -> dict[tuple[str, int], MetricRecord]:
    """The records of a metric in finished rows, which must have the same protocol."""
    rows = (row for rows in counted.values() for row in rows.values() if row.status == "finished")
    found = [row for row in rows if name in row.metrics]
    if found:
        require_same_protocol(name, {label(row): row.metrics[name] for row in found}, FREE)
    return {(row.arm, row.seed): row.metrics[name] for row in found}


def label(row: Row) -> str:
    return f"{row.arm} (seed {row.seed})"
