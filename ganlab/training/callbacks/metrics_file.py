"""The file metrics.csv. A resumed run first drops the rows of the steps that it will play again."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ganlab.filesystem import write_atomically


class MetricsFile:
    """Rows of scalars, one for each logged step.

    A column is added when its scalar first appears. If a row lacks a scalar, its cell is empty.
    """

    def __init__(self, path: Path):
        self.path = path

    def drop_after(self, step: int) -> None:
        """Drops the rows after a step, and an incomplete last row, which a killed process may have left."""
        if columns := self._columns():
            self._rewrite(columns, [row for row in self._rows() if int(row["step"]) <= step])

    def last_step(self) -> int:
        """The step of the last complete row; 0 if there is none."""
        return max((int(row["step"]) for row in self._rows()), default=0)

    def append(self, row: Mapping[str, float]) -> None:
        """Adds a row, which begins with `step` and `images`."""
        columns = self._columns()
        if not row.keys() <= set(columns):
            columns = list(dict.fromkeys([*columns, *row]))  # in the order of their first appearance
            self._rewrite(columns, self._rows())
        with self.path.open("a", newline="") as file:
            file.write(csv_line([row.get(name) for name in columns]))

    def _open(self) -> io.TextIOBase:
        return self.path.open(newline="") if self.path.is_file() else io.StringIO()

    def _columns(self) -> list[str]:
        with self._open() as file:
            return next(csv.reader(file), [])

    def _rows(self) -> list[dict[str, str]]:
        """The complete rows: an incomplete last one has no line end."""
        with self._open() as file:
            text = file.read()
        return [*csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))]

    def _rewrite(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        lines = [csv_line([row.get(name) for name in columns]) for row in rows]
        write_atomically(self.path, csv_line(columns) + "".join(lines))


def csv_line(cells: Sequence[str | float | None]) -> str:
    """A line of a CSV file, in which the cell of None is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
