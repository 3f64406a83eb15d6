"""results.csv: a row for each run of a study, collected from the directories of the runs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from ganlab.config import identity
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import matches
from ganlab.core.errors import ConfigError, escape_unprintable, require
from ganlab.core.numerics import NUMERICS
from ganlab.core.validation import NotNegative
from ganlab.filesystem import config_error_if_unwritable, csv_line, read_regular_file, write_atomically
from ganlab.metrics.protocols import MetricRecords, is_metric_value
from ganlab.studies.spec import NAME

if TYPE_CHECKING:
    from ganlab.studies.plan import Job

STATUSES = ("finished", "failed", "diverged", "pruned", "interrupted")
MAX_BYTES = 1 << 28
WORD = r"[\w.:+-]*"  # what a cell with a text may be, except these:
PATTERNS = {"arm": NAME.pattern, "status": "|".join(STATUSES), "reason": ".*", "device": ".*"}
FORMULA = ("=", "+", "-", "@")  # at the beginning of a cell, spreadsheets would run the rest
Number = Annotated[int, "[0, 1e18]"]
Label = tuple[str, int]  # of a run: its arm, which of a search is trial0, trial1, ..., and its seed


@dataclass(frozen=True, kw_only=True)
class Row:
    """How a run stands; the fields are the columns, in this order.

    The columns from `course` on are missing in older files.
    """

    arm: str
    seed: Number
    status: str
    reason: str  # why the run did not finish; empty if it did
    config: str  # hashes, 12 hex digits each
    data: str
    code: str  # of all files of the package: provenance, which is compared with nothing
    commit: str  # 12 hex digits, and a plus if the checkout was changed; empty outside of one
    steps: Number
    images: Number  # real images seen
    seconds: NotNegative  # of training
    device: str  # cpu and its threads, or the name of a GPU
    finished: str  # when it ended, UTC, ISO 8601 to the second
    value: float | None  # of the first metric of the study, after the last step
    metrics: MetricRecords  # by full name, as summary.json has them
    numerics: Number  # ganlab.core.numerics.NUMERICS of the code
    course: dict[str, Any] = field(default_factory=dict)  # the first metric by the step of its evaluation
    parameters: dict[str, Any] = field(default_factory=dict)  # of a trial of a search, by name
    space: str = ""  # the hash of what all trials of a search have in common


TYPES = get_type_hints(Row, include_extras=True)
COLUMNS = [*TYPES]
OLD = COLUMNS[: COLUMNS.index("course")]
KEY = attrgetter("arm", "seed", "config", "data", "numerics")  # rows of the same run have the same


def latest(rows: Iterable[Row]) -> dict[Label, Row]:
    """The row of each run: of several, the one of the latest numerics; of these, the latest."""
    return {(row.arm, row.seed): row for row in sorted(rows, key=attrgetter("numerics", "finished"))}


def merge(path: Path, rows: Sequence[Row], lock: AbstractContextManager[Any]) -> None:
    """Adds rows to a table under the lock that all who write it share.

    A row of the same run is replaced, as is one that says that a run with its arm and seed was interrupted.
    The file is never seen half-written.
    """
    with config_error_if_unwritable(path), lock:
        new = latest(rows)
        old = [row for row in read(path) if row.status != "interrupted" or (row.arm, row.seed) not in new]
        merged = {KEY(row): row for row in [*old, *rows]}
        write_atomically(path, text_of(merged.values()))


def text_of(rows: Iterable[Row]) -> str:
    """The content of results.csv."""
    lines = ([written(getattr(row, name)) for name in COLUMNS] for row in rows)
    return "".join(map(csv_line, [COLUMNS, *lines]))


def written(value: Any) -> str:
    if isinstance(value, str):
        text = escape_unprintable(" ".join(value.split()))
        return f"'{text}" if text.startswith(FORMULA) else text
    return "" if value is None else json.dumps(value) if isinstance(value, dict) else repr(value)


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
    return [parsed(f"{path}, line {number}", header, cells) for number, cells in enumerate(lines[1:], 2)]


def parsed(place: str, header: list[str], cells: list[str]) -> Row:
    """The row of a line."""
    found, remedy, n = {}, "repair or remove the line", len(cells)
    require(n == len(header), f"{place} has {n} cells, not {len(header)}", remedy)
    for name, cell in zip(header, cells, strict=True):
        try:
            found[name], is_valid = understood(name, cell)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            is_valid = False
        require(is_valid, f"{place}: {name}={cell!s:.80} is no {name} of a run", remedy)
    return Row(**found)


def understood(name: str, cell: str) -> tuple[Any, bool]:
    """The value of a cell, and whether there may be such a one; raises one of many errors if it is none."""
    if TYPES[name] is str:
        return cell, cell.isprintable() and re.fullmatch(PATTERNS.get(name, WORD), cell) is not None
    value = json.loads({"": "null", "nan": "NaN"}.get(cell, cell))
    if name == "value":
        return value, is_metric_value(value) or not cell
    numbers = [record["value"] for record in value.values()] if name == "metrics" else []
    if name == "course":
        numbers = [number for step, number in value.items() if int(step) >= 0]
    return value, matches(value, TYPES[name]) and all(map(is_metric_value, numbers))


def collected(job: Job, metrics: Sequence[str]) -> Row | None:
    """The row of a run, of which some metrics are wanted; None if it has not ended, or was not begun."""
    found: dict[str, Any] = RunDirectory(job.directory).summary()
    status, device = found.get("status"), str(found.get("device", ""))
    if status not in STATUSES:
        return None
    records = found.get("metrics", {}) if status == "finished" else {}
    ended = (job.directory / "summary.json").stat().st_mtime
    commit, threads = found.get("commit") or "", found.get("threads")
    if device == "cpu" and threads:  # on a CPU, the last bits depend on their number
        device += f", {threads} thread{'s' * (threads > 1)}"
    return Row(
        **{name: getattr(job, name) for name in ("arm", "seed", "config", "parameters", "space")},
        **{name: found.get(name, 0) for name in ("steps", "images", "seconds")},
        status=status,
        reason=" ".join(str(found.get("reason") or "").split()),
        data=(job.data or found.get("data_sha256") or "")[: identity.SIZE],
        code=found.get("code_sha256") or identity.code(),
        commit=commit[:12] + "+" * commit.endswith("+"),
        device=device,
        finished=f"{datetime.fromtimestamp(ended, UTC):%Y-%m-%dT%H:%M:%SZ}",
        value=records[metrics[0]]["value"] if metrics[0] in records else None,
        metrics={name: records[name] for name in metrics if name in records},
        numerics=found.get("numerics", NUMERICS),
        course=course(job.directory, metrics[0]),
    )


def course(directory: Path, metric: str) -> dict[str, float]:
    """A metric of a run by the step of each evaluation so far; a half-written row is left out."""
    try:
        text = RunDirectory(directory).metrics.read_text()
    except (OSError, ValueError):
        return {}
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    return {row["step"]: float(row[metric]) for row in rows if row.get(metric)}
