"""A trial of a sweep, as a row of its results.csv."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlab.suites.records import Record, Records
from ganlab.suites.results import Row


@dataclass(frozen=True, kw_only=True)
class Tried(Record):
    """One trial of a sweep."""

    whose = "a sweep"
    statuses = ("finished", "pruned", "failed", "diverged")  # pruned: ended early, for it was hopeless
    columns = (
        "trial status value parameters reason course space seed config data code commit steps images seconds "
        "device finished metrics numerics"
    )

    trial: int  # its number, from 0 on
    parameters: dict[str, Any]  # what was tried, by name
    course: dict[str, float]  # the metric by the round of each evaluation
    space: str  # the hash of all that trials have in common

    @property
    def judged(self) -> float | None:
        """The value, where there is one that can be compared."""
        known = self.status == "finished" and self.value is not None and math.isfinite(self.value)
        return self.value if known else None

    @property
    def last(self) -> float | None:
        """What was measured last, where that is a number."""
        found = self.course[max(self.course, key=int)] if self.course else None
        return found if found is not None and math.isfinite(found) else None


def tried(row: Row, trial: int, parameters: dict[str, Any], course: dict[str, float], space: str) -> Tried:
    """A trial from the row of its run."""
    same = {name: value for name, value in vars(row).items() if name != "arm"}
    return Tried(trial=trial, parameters=parameters, course=course, space=space, **same)


def records(path: Path) -> Records[Tried]:
    """The file of a sweep's trials."""
    return Records(Tried, path)


def best(rows: Sequence[Tried], more: bool) -> list[Tried]:
    """The trials that have a value, the best first."""
    valued = [(row.judged, row) for row in rows if row.judged is not None]
    return [row for _, row in sorted(valued, key=lambda pair: pair[0], reverse=more)]
