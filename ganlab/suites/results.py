"""results.csv: one row per run of a suite, appended whole or not at all, by any number of processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ganlab.suites.records import Record, Records


@dataclass(frozen=True, kw_only=True)
class Row(Record):
    """One run of a suite."""

    whose = "a suite"
    statuses = ("finished", "failed", "diverged")
    columns = (
        "arm seed status reason config data code commit steps images seconds device finished value metrics "
        "numerics"
    )

    arm: str


def read(path: str | Path) -> tuple[list[Row], str | None]:
    """The rows of a file, none where there is no file; and what is to be said of a half-written last one.

    Raises:
        ConfigError: it is another file, or a row before the last cannot be read; the line is named.
    """
    return Records(Row, Path(path)).read()


def append(path: str | Path, row: Row) -> str | None:
    """Adds a row at the end; a half-written one that is there is cut off first, and what is said returned.

    Raises:
        ConfigError: the file cannot be written.
    """
    return Records(Row, Path(path)).append(row)
