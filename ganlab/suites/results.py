"""results.csv: one row per run of a suite, appended whole or not at all, by any number of processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlab.suites.records import Record, Records


@dataclass(frozen=True)
class Row(Record):
    """One run of a suite; the columns of the file, in their order."""

    whose = "a suite"
    statuses = ("finished", "failed", "diverged")

    arm: str
    seed: int
    status: str  # finished | failed | diverged
    reason: str  # why it did not finish; empty where it did
    config: str  # hashes, 12 hex digits each
    data: str
    code: str
    commit: str  # 12 hex digits, and a plus where the checkout was changed; empty outside of one
    steps: int  # rounds played
    images: int  # real images seen
    seconds: float  # of training
    device: str  # cpu and its threads, or the name of a GPU
    finished: str  # when it ended, UTC, ISO 8601 to the second
    value: float | None  # of the suite's first metric
    metrics: dict[str, dict[str, Any]]  # the suite's metrics by their full names, as summary.json has them


def read(path: str | Path) -> tuple[list[Row], str | None]:
    """The rows of a file, none where there is no file; and what is to be said of a half-written last one.

    Raises:
        Refused: it is another file, or a row before the last cannot be read; the line is named.
    """
    return Records(Row, Path(path)).read()


def append(path: str | Path, row: Row) -> str | None:
    """Adds a row at the end; a half-written one that is there is cut off first, and what is said returned.

    Raises:
        Refused: the file cannot be written.
    """
    return Records(Row, Path(path)).append(row)
