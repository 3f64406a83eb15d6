"""metrics.csv: rows are appended one by one and cut by a resume, so that none is lost or doubled."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from ganlab.filesystem import write_atomically

FIXED_COLUMNS = ["step", "images"]


class MetricsFile:
    """Rows of scalars by step. A column is added when its scalar first appears; an empty cell has none."""

    def __init__(self, path: Path):
        self.path = path

    def cut(self, step: int) -> None:
        """Drops the rows after a step, and a last row that a kill has torn."""
        if self._columns():
            self._rewrite(*self._read(step))

    def last_step(self) -> int:
        """The step of the last whole row; 0 if there is none."""
        rows = self._read()[1] if self._columns() else []
        return int(rows[-1][0]) if rows else 0

    def append(self, row: Mapping[str, float]) -> None:
        """Adds a row, which must have `step` and `images`."""
        columns = self._columns()
        if any(name not in columns for name in row):
            columns, rows = self._read() if columns else (FIXED_COLUMNS, [])
            columns = list(dict.fromkeys([*columns, *row]))
            self._rewrite(columns, rows)
        with self.path.open("a", newline="") as file:
            file.write(csv_line(["" if row.get(name) is None else repr(row[name]) for name in columns]))

    def _columns(self) -> list[str]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            return next(csv.reader(file), [])

    def _read(self, until: int | None = None) -> tuple[list[str], list[list[str]]]:
        """The columns and the whole rows, up to a step."""
        with self.path.open(newline="") as file:
            text = file.read()
        columns, *rows = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
        return columns, [row for row in rows if until is None or int(row[0]) <= until]

    def _rewrite(self, columns: list[str], rows: list[list[str]]) -> None:
        padded = [(row + [""] * len(columns))[: len(columns)] for row in rows]
        write_atomically(self.path, "".join(map(csv_line, [columns, *padded])))


def csv_line(cells: list[str]) -> str:
    """A line of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
