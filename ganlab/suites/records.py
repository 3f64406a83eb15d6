"""A CSV file with a record a line, which are read as they were written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from ganlab.core.errors import ConfigError
from ganlab.suites import lines
from ganlab.training.callbacks.metrics_file import csv_line


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
    numerics: int  # ganlab.core.numerics.NUMERICS_VERSION of the code that played it


R = TypeVar("R", bound=Record)


def mapping(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(text)
    return found


# By the annotation of a field.
KINDS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "float | None": lambda text: float(text) if text else None,
    "dict[str, Any]": mapping,
    "dict[str, float]": mapping,
    "dict[str, dict[str, Any]]": mapping,
}


class Records(Generic[R]):
    """The records of a file.

    Args:
        kind: of a record.
        path: of the file, which need not exist.
    """

    def __init__(self, kind: type[R], path: Path):
        self.kind = kind
        self.path = path
        kinds = {column.name: str(column.type) for column in fields(kind)}
        self.columns = {name: kinds[name] for name in kind.columns.split()}

    def read(self) -> tuple[list[R], str | None]:
        """All of them; and what is to be said of a half-written last one.

        Raises:
            ConfigError: it is another file, or a line before the last cannot be read; which, is named.
        """
        whole, torn = lines.read(self.path)
        said = None
        if torn:
            start = torn.decode(errors="replace")[:40]
            said = f"{self.path}: the last row is half-written and is left out ({start!r}...)"
        return list(self._parsed(whole.decode())), said

    def append(self, record: R) -> str | None:
        """Adds one at the end; a half-written one that is there is cut off first, and what is said returned.

        Raises:
            ConfigError: the file cannot be written.
        """
        torn = lines.append(
            self.path,
            csv_line([written(getattr(record, name)) for name in self.columns]),
            first=csv_line(list(self.columns)),
        )
        return f"{self.path}: a half-written last row was cut off" if torn else None

    def _parsed(self, text: str) -> Iterator[R]:
        """The records of whole lines."""
        for number, cells in enumerate(csv.reader(io.StringIO(text)), 1):
            if number == 1:
                if cells != list(self.columns):
                    expected = ",".join(self.columns)
                    raise ConfigError(
                        f"{self.path} is no results of {self.kind.whose}: its first line is not {expected}"
                    )
                continue
            try:
                yield self._understood(dict(zip(self.columns, cells, strict=True)))
            except (ValueError, TypeError) as error:
                raise ConfigError(
                    f"{self.path}, line {number} is no row of results: repair it, or remove it"
                ) from error

    def _understood(self, cells: dict[str, str]) -> R:
        """A record from the texts of its cells."""
        if cells["status"] not in self.kind.statuses:
            raise ValueError(cells["status"])
        return self.kind(**{name: KINDS[kind](cells[name]) for name, kind in self.columns.items()})


def written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value)
    return " ".join(value.split()) if isinstance(value, str) else repr(value)
