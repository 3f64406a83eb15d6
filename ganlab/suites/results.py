"""results.csv: a row for each run that has ended, whole or not at all, from any number of processes."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import config_error_if_unwritable, csv_line


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run that has ended, of which a file has a line; `columns` are the fields in the file's order."""

    whose: ClassVar[str]  # results they are
    statuses: ClassVar[tuple[str, ...]]
    columns: ClassVar[str]

    seed: int
    status: str
    reason: str  # why it did not finish; empty where it did
    config: str  # hashes, 12 hex digits each
    data: str
    code: str  # of all files of the package: where it comes from, compared with nothing
    commit: str  # 12 hex digits, and a plus where the checkout was changed; empty outside of one
    steps: int  # rounds played
    images: int  # real images seen
    seconds: float  # of training
    device: str  # cpu and its threads, or the name of a GPU
    finished: str  # when it ended, UTC, ISO 8601 to the second
    value: float | None  # of the first metric that is asked for, after the last round
    metrics: dict[str, dict[str, Any]]  # what is asked for, by full names, as summary.json has it
    numerics: int  # ganlab.core.numerics.NUMERICS of the code that played it

    @classmethod
    def read(cls, path: Path) -> tuple[list[Self], str | None]:
        """All of a file, none where there is no file; and what is to be said of a half-written last one.

        Raises:
            ConfigError: it is another file, or a line before the last cannot be read; which, is named.
        """
        whole, torn = read_lines(path)
        start = torn.decode(errors="replace")[:40]
        said = f"{path}: the last row is half-written and is left out ({start!r}...)" if torn else None
        return list(cls.parsed(path, whole.decode())), said

    def append(self, path: Path) -> str | None:
        """Adds it to a file; a half-written last row there is cut off first, and what is said returned.

        Raises:
            ConfigError: the file cannot be written.
        """
        columns = self.columns.split()
        line = csv_line([written(getattr(self, name)) for name in columns])
        torn = append_lines(path, line, first=csv_line(columns))
        return f"{path}: a half-written last row was cut off" if torn else None

    @classmethod
    def parsed(cls, path: Path, text: str) -> Iterator[Self]:
        """The records of whole lines."""
        columns = cls.columns.split()
        kinds = {field.name: str(field.type) for field in fields(cls)}
        rows = csv.reader(io.StringIO(text))
        other = f"{path} is no results of {cls.whose}: its first line is not {','.join(columns)}"
        require(next(rows, columns) == columns, other)
        for number, cells in enumerate(rows, 2):
            try:
                named = zip(columns, cells, strict=True)
                record = {name: understood(kinds[name], cell) for name, cell in named}
                if record["status"] not in cls.statuses:
                    raise ValueError(record["status"])
                yield cls(**record)
            except (ValueError, TypeError) as error:
                refusal = f"{path}, line {number} is no row of results: repair it, or remove it"
                raise ConfigError(refusal) from error


@dataclass(frozen=True, kw_only=True)
class Row(Record):
    """One run of a suite."""

    whose = "a suite"
    statuses = ("finished", "failed", "diverged")
    columns = "arm seed status reason config data code commit steps images seconds device finished value"
    columns += " metrics numerics"

    arm: str


def understood(kind: str, cell: str) -> Any:
    """The value of a cell, by the annotation of its field."""
    if kind.startswith("dict"):
        found = json.loads(cell)
        if not isinstance(found, dict):
            raise TypeError(cell)
        return found
    if kind == "float | None" and not cell:
        return None
    return {"str": str, "int": int}.get(kind, float)(cell)


def written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value)
    return " ".join(value.split()) if isinstance(value, str) else repr(value)


def read_lines(path: Path) -> tuple[bytes, bytes]:
    """The whole lines of a file, and a half-written one behind them; neither where there is no file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # until it is closed, against other machines too that share it
            return split(file.read())
    except FileNotFoundError:
        return b"", b""


def append_lines(path: Path, lines: str, first: str = "") -> bool:
    """Adds lines at the end, behind a first one where there is none; whether a half-written one was cut off.

    The lines are on the disk when this returns, and were written at once: a kill leaves them whole, torn at
    the end of the file, or absent.

    Raises:
        ConfigError: the file cannot be written.
    """
    with config_error_if_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            whole, torn = split(file.read())
            if torn:
                file.truncate(len(whole))
            file.write((lines if whole else first + lines).encode())
            os.fsync(file.fileno())
    return bool(torn)


def split(content: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and what follows the last of them."""
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]
