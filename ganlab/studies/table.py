"""results.csv: a row for each run of a study, collected from the directories of the runs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import config_error_if_unwritable, csv_line, read_regular_file, write_atomically
from ganlab.metrics.protocols import MetricRecords, is_metric_value

STATUSES = ("finished", "failed", "diverged", "pruned", "interrupted")
MAX_BYTES = 1 << 28
MAX_NUMBER = 1 << 62
PATTERNS = dict.fromkeys(("config", "data", "code", "space"), "[0-9a-f]{0,12}") | {
    "arm": "[A-Za-z0-9][A-Za-z0-9_.-]*",
    "status": "|".join(STATUSES),
    "commit": r"[0-9a-f]{0,40}\+?",
}
FORMULA = ("=", "+", "-", "@")  # at the beginning of a cell, spreadsheets would run the rest


@dataclass(frozen=True, kw_only=True)
class Row:
    """How a run stands; the fields are the columns, in this order.

    The columns from `course` on are missing in older files.
    """

    arm: str
    seed: int
    status: str
    reason: str  # why the run did not finish; empty if it did
    config: str  # hashes, 12 hex digits each
    data: str
    code: str  # of all files of the package: provenance, which is compared with nothing
    commit: str  # 12 hex digits, and a plus if the checkout was changed; empty outside of one
    steps: int
    images: int  # real images seen
    seconds: float  # of training
    device: str  # cpu and its threads, or the name of a GPU
    finished: str  # when it ended, UTC, ISO 8601 to the second
    value: float | None  # of the first metric of the study, after the last step
    metrics: MetricRecords  # by full name, as summary.json has them
    numerics: int  # ganlab.core.numerics.NUMERICS of the code
    course: dict[str, float] = field(default_factory=dict)  # the first metric by the step of its evaluation
    parameters: dict[str, Any] = field(default_factory=dict)  # of a trial of a search, by name
    space: str = ""  # the hash of what all trials of a search have in common

    @property
    def key(self) -> tuple[str, int, str, str, int]:
        """What makes two rows rows of the same run."""
        return self.arm, self.seed, self.config, self.data, self.numerics


COLUMNS = [one.name for one in fields(Row)]
OLD = COLUMNS[: COLUMNS.index("course")]


class Table:
    """The rows of a study. Several processes may merge into the same file, if they have the same `lock`."""

    def __init__(self, path: Path, lock: Path):
        self.path, self.lock = path, FileLock(lock)

    def merge(self, rows: Iterable[Row]) -> None:
        """Adds rows. A row of the same run is replaced; the file is never seen half-written."""
        with config_error_if_unwritable(self.path), self.lock:
            merged = {row.key: row for row in read(self.path)} | {row.key: row for row in rows}
            write_atomically(self.path, text_of(merged.values()))


def text_of(rows: Iterable[Row]) -> str:
    """The content of results.csv."""
    lines = ([written(getattr(row, name)) for name in COLUMNS] for row in rows)
    return "".join(map(csv_line, [COLUMNS, *lines]))


def written(value: Any) -> str:
    if value is None or value == {}:
        return "" if value is None else "{}"
    if isinstance(value, dict):
        return json.dumps(value)
    if not isinstance(value, str):
        return repr(value)
    text = " ".join(value.split())
    return f"'{text}" if text.startswith(FORMULA) else text


def read(path: Path) -> list[Row]:
    """The rows of a file; none if there is no file.

    Raises:
        ConfigError: the file is no results.csv, or has a line that is no row; the line and cell are named.
    """
    if not path.exists():
        return []
    try:
        lines = list(csv.reader(io.StringIO(read_regular_file(path, MAX_BYTES).decode()), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path} is no table", "restore it, for example with git") from error
    header = lines[0] if lines else OLD
    is_known = header[: len(OLD)] == OLD and header == COLUMNS[: len(header)]
    require(is_known, f"{path} is no results.csv: its first line is not {','.join(OLD)}", "move it away")
    return [parsed(path, number, header, cells) for number, cells in enumerate(lines[1:], 2)]


def parsed(path: Path, number: int, header: list[str], cells: list[str]) -> Row:
    """The row of a line."""
    place, remedy = f"{path}, line {number}", "repair or remove the line"
    require(len(cells) == len(header), f"{place} has {len(cells)} cells, not {len(header)}", remedy)
    kinds = {one.name: str(one.type) for one in fields(Row)}
    found = {}
    for name, cell in zip(header, cells, strict=True):
        try:
            found[name] = understood(name, kinds[name], cell)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{place}: {name}={cell!s:.80} is no {kinds[name]}", remedy) from error
    return Row(**found)


def understood(name: str, kind: str, cell: str) -> Any:
    """The value of a cell; raises one of many errors if it is none."""
    found: Any = cell
    if kind == "int":
        found = int(cell)
        is_valid = 0 <= found < MAX_NUMBER
    elif kind.startswith("float"):
        found = float(cell) if cell or kind == "float" else None
        is_valid = found is None or is_metric_value(found) and (name == "value" or found >= 0)
    elif kind == "str":
        is_valid = cell.isprintable() and re.fullmatch(PATTERNS.get(name, ".*"), cell) is not None
    else:
        found = json.loads(cell)
        values = {"metrics": lambda: [one["value"] for one in found.values()], "course": found.values}
        is_valid = isinstance(found, dict) and all(map(is_metric_value, values.get(name, list)()))
    if not is_valid:
        raise ValueError(cell)
    return found
