"""What the rows of a suite say, arm by arm: the numbers, their comparison, and what is missing."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

from ganlab.core.errors import ConfigError
from ganlab.metrics.protocols import require_same_protocol
from ganlab.suites.results import Row
from ganlab.suites.statistics import ALPHA, Comparison, compare, holm
from ganlab.suites.suite import Arm, Suite

# In what arms may differ: to sample otherwise may be the very thing that one does; and torch, like the
# machine, changes last bits. Both are said.
FREE = ("sampler", "classes", "torch")

Record = Mapping[str, Any]
Records = Mapping[tuple[str, int], Record]  # by arm and seed
K = TypeVar("K")  # what is compared: an arm, or a pair of them


@dataclass(frozen=True)
class Found:
    """What the rows of one arm say.

    `rows` are by seed, the last one of each; `values` by metric, as the suite names it, and by seed, of
    finished runs alone; `p` is corrected for the number of arms that are compared.
    """

    arm: Arm
    rows: Mapping[int, Row]
    missing: list[int]
    values: Mapping[str, Mapping[int, float]]
    comparison: Comparison | None
    p: float | None

    def count(self, status: str) -> int:
        return sum(row.status == status for row in self.rows.values())

    @property
    def differs(self) -> bool:
        """Whether it differs from the reference, at 5 % after the correction."""
        return self.p is not None and self.p < ALPHA


@dataclass(frozen=True)
class Findings:
    """What the rows of a suite say; `names` and `records` are by metric, as the suite names it.

    `records` are of every finished row, by arm and seed; `changed` are rows of another config than their
    arm has now, and `ignored` others that do not count, because the suite has not their arm or seed, or a
    later one took their place.
    """

    suite: Suite
    arms: Mapping[str, Found]
    names: Mapping[str, str]
    records: Mapping[str, Records]
    changed: list[Row]
    ignored: list[Row]

    @property
    def rows(self) -> list[Row]:
        """All that count."""
        return [row for found in self.arms.values() for row in found.rows.values()]

    @property
    def first(self) -> str:
        """The metric that answers the question, as the suite names it."""
        return self.suite.metrics[0]

    @property
    def compared(self) -> list[Found]:
        """The arms other than the reference that have seeds in common with it."""
        return [found for found in self.arms.values() if found.comparison is not None]

    def record(self, metric: str) -> Record:
        """Any record of a metric: all were made alike."""
        return next(iter(self.records[metric].values()), {})


def find(suite: Suite, rows: Iterable[Row], configs: Mapping[str, str]) -> Findings:
    """What rows say of a suite; of one arm and seed the last one counts.

    Args:
        suite: as it was read.
        rows: of its results.
        configs: the hash of each arm's config as it is now; rows of another do not count.

    Raises:
        ConfigError: numbers that are to stand in one column were not made alike.
    """
    given = list(rows)
    changed = [row for row in given if row.config != configs.get(row.arm, row.config)]
    rows = [row for row in given if row not in changed]
    last = {(row.arm, row.seed): row for row in rows}
    counted = {cell: last[cell] for cell in product(suite.arms, suite.seeds) if cell in last}
    names = {metric: full_name(metric, counted) for metric in suite.metrics}
    records = {metric: records_of(name, counted) for metric, name in names.items()}
    values = {arm: {metric: values_of(arm, found) for metric, found in records.items()} for arm in suite.arms}
    first = suite.metrics[0]
    others = {arm: found[first] for arm, found in values.items() if arm != suite.reference}
    reference = values[suite.reference][first]
    comparisons = {arm: against(reference, found) for arm, found in others.items()}
    p = corrected(comparisons, suite.comparisons)
    arms = {}
    for name, arm in suite.arms.items():
        own = {seed: counted[name, seed] for seed in suite.seeds if (name, seed) in counted}
        missing = [seed for seed in suite.seeds if seed not in own]
        arms[name] = Found(arm, own, missing, values[name], comparisons.get(name), p.get(name))
    kept = {id(row) for row in counted.values()}
    return Findings(suite, arms, names, records, changed, [row for row in rows if id(row) not in kept])


def values_of(arm: str, records: Records) -> dict[int, float]:
    """The finite numbers of an arm in the records of a metric, by seed."""
    own = {seed: record["value"] for (of, seed), record in records.items() if of == arm}
    return {seed: value for seed, value in own.items() if math.isfinite(value)}


def full_name(metric: str, rows: Mapping[tuple[str, int], Row]) -> str:
    """The whole name of a metric that a suite may name by its beginning, the same one in all rows."""
    found: dict[str, Row] = {}
    for row in rows.values():
        for name in row.metrics:
            if name == metric or name.startswith((f"{metric}/", f"{metric}_")):
                found.setdefault(name, row)
    if len(found) > 1:
        (one, mine), (other, theirs), *_ = found.items()
        both = f"{metric} is {one} in {label(mine)}, {other} in {label(theirs)}"
        raise ConfigError(f"{both}: name one of them in metrics, or measure both alike")
    return next(iter(found), metric)


def records_of(name: str, rows: Mapping[tuple[str, int], Row]) -> dict[tuple[str, int], Record]:
    """The records of a metric in finished rows, which must have been made alike."""
    finished = {key: row for key, row in rows.items() if row.status == "finished" and name in row.metrics}
    if finished:
        require_same_protocol(name, {label(row): row.metrics[name] for row in finished.values()}, FREE)
    return {key: row.metrics[name] for key, row in finished.items()}


def label(row: Row) -> str:
    return f"{row.arm} (seed {row.seed})"


def against(reference: Mapping[int, float], values: Mapping[int, float]) -> Comparison | None:
    """An arm's values by seed against the reference's, over the seeds that both have."""
    both = [seed for seed in values if seed in reference]
    return compare([values[seed] for seed in both], [reference[seed] for seed in both])


def corrected(comparisons: Mapping[K, Comparison | None], planned: int) -> dict[K, float]:
    """The p of each that has one, after Holm's correction for all that are planned.

    Those that have none yet count as tests that show nothing, or a suite that is half played would be
    corrected for half of its tests.
    """
    p = {arm: found.p for arm, found in comparisons.items() if found is not None and found.p is not None}
    return dict(zip(p, holm([*p.values(), *[1.0] * (planned - len(p))]), strict=False))
