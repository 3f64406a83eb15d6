"""metrics.csv: appended a row at a time, cut at a resume, so that no row is lost or doubled."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from ganlab.filesystem import write_atomically

FIRST = ["step", "images"]


class MetricsFile:
    """Rows of numbers by round. A column is added when a number first appears; empty: not measured."""

    def __init__(self, path: Path):
        self.path = path

    def cut(self, step: int) -> None:
        """Drops the rows after a round, and a last row that a kill has torn."""
        if self._columns():
            self._rewrite(*self._read(step))

    def last_step(self) -> int:
        """The round of the last whole row; 0 where there is none."""
        rows = self._read()[1] if self._columns() else []
        return int(rows[-1][0]) if rows else 0

    def append(self, row: Mapping[str, float]) -> None:
        """Adds a row, which must have `step` and `images`."""
        columns = self._columns()
        new = [name for name in row if name not in columns]
        if new:
            columns, rows = self._read() if columns else (FIRST, [])
            columns = [*columns, *(name for name in new if name not in columns)]
            self._rewrite(columns, rows)
        with self.path.open("a", newline="") as file:
            file.write(line([cell(row.get(name)) for name in columns]))

    def _columns(self) -> list[str]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            return next(csv.reader(file), [])

    def _read(self, until: int | None = None) -> tuple[list[str], list[list[str]]]:
        """The columns and the whole rows, up to a round."""
        with self.path.open(newline="") as file:
            text = file.read()
        columns, *rows = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
        return columns, [row for row in rows if until is None or int(row[0]) <= until]

    def _rewrite(self, columns: list[str], rows: list[list[str]]) -> None:
        empty = [""] * len(columns)
        write_atomically(
            self.path, line(columns) + "".join(line((row + empty)[: len(columns)]) for row in rows)
        )


def line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def cell(value: float | None) -> str:
    return "" if value is None else repr(value)
