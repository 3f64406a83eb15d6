"""results.csv: one row per run of a suite, appended whole or not at all, by any number of processes."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ganlab.errors import Refused

STATUSES = ("finished", "failed", "diverged")


@dataclass(frozen=True)
class Row:
    """One run of a suite; the columns of the file, in their order."""

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
    device: str  # cpu, or the name of a GPU
    finished: str  # when it ended, UTC, ISO 8601 to the second
    value: float | None  # of the suite's first metric
    metrics: dict[str, dict[str, Any]]  # the suite's metrics by their full names, as summary.json has them


COLUMNS = tuple(column.name for column in fields(Row))


def read(path: str | Path) -> tuple[list[Row], str | None]:
    """The rows of a file, none where there is no file; and what is to be said of a half-written last one.

    Raises:
        Refused: it is another file, or a row before the last cannot be read; the line is named.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, locked(file, fcntl.LOCK_SH):
            content = file.read()
    except FileNotFoundError:
        return [], None
    whole, torn = split(content)
    said = None
    if torn:
        start = torn.decode(errors="replace")[:40]
        said = f"{path}: the last row is half-written and is left out ({start!r}...)"
    return list(parsed(path, whole.decode())), said


def append(path: str | Path, row: Row) -> str | None:
    """Adds a row at the end; a half-written one that is there is cut off first, and what is said returned.

    The line is on the disk when this returns, and was written at once: a kill leaves it whole, torn at the
    end of the file, or absent.

    Raises:
        Refused: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file, locked(file, fcntl.LOCK_EX):
            file.seek(0)
            whole, torn = split(file.read())
            if torn:
                file.truncate(len(whole))
            text = line(row) if whole else line(COLUMNS) + line(row)
            file.write(text.encode())
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}; make room, or give rights") from error
    return f"{path}: a half-written last row was cut off" if torn else None


def split(content: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and what follows the last of them."""
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


@contextmanager
def locked(file: Any, how: int) -> Iterator[None]:
    """Holds a file's lock, against processes of other machines too where they share it."""
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def line(row: Row | tuple[str, ...]) -> str:
    """A row as one line of the file, whatever its texts hold."""
    cells = [written(getattr(row, name)) for name in COLUMNS] if isinstance(row, Row) else list(row)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value)
    return " ".join(value.split()) if isinstance(value, str) else repr(value)


def parsed(path: Path, text: str) -> Iterator[Row]:
    """The rows of whole lines."""
    for number, cells in enumerate(csv.reader(io.StringIO(text)), 1):
        if number == 1:
            if tuple(cells) != COLUMNS:
                raise Refused(f"{path} is no results of a suite: its first line is not {','.join(COLUMNS)}")
            continue
        try:
            yield understood(dict(zip(COLUMNS, cells, strict=True)))
        except (ValueError, TypeError) as error:
            raise Refused(f"{path}, line {number} is no row of results: repair it, or remove it") from error


def understood(cells: dict[str, str]) -> Row:
    """A row from the texts of its cells."""
    if cells["status"] not in STATUSES:
        raise ValueError(cells["status"])
    read: dict[str, Any] = dict(cells)
    read |= {name: int(cells[name]) for name in ("seed", "steps", "images")}
    read["seconds"] = float(cells["seconds"])
    read["value"] = float(cells["value"]) if cells["value"] else None
    read["metrics"] = json.loads(cells["metrics"])
    if not isinstance(read["metrics"], dict):
        raise TypeError(cells["metrics"])
    return Row(**read)
