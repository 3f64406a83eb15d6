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
        self.columns: list[str] = []  # those that the file was last seen to have

    def drop_after(self, step: int) -> None:
        """Drops the rows after a step, and an incomplete last row, which a killed process may have left."""
        rows = [row for row in self._rows() if int(row["step"]) <= step]
        if self.columns:
            self._rewrite(rows)

    def last_step(self) -> int:
        """The step of the last complete row; 0 if there is none."""
        return max((int(row["step"]) for row in self._rows()), default=0)

    def append(self, row: Mapping[str, float]) -> None:
        """Adds a row, which begins with `step` and `images`."""
        if not row.keys() <= {*self.columns}:
            rows = self._rows()
            self.columns = [*dict.fromkeys([*self.columns, *row])]  # in the order of their first appearance
            self._rewrite(rows)
        with self.path.open("a", newline="") as file:
            file.write(csv_line([row.get(name) for name in self.columns]))

    def _rows(self) -> list[dict[str, str]]:
        """Reads the columns and the complete rows: an incomplete last one has no line end."""
        text = self.path.read_text() if self.path.is_file() else ""
        reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
        self.columns = [*(reader.fieldnames or ())]
        return [*reader]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        lines = [csv_line([row.get(name) for name in self.columns]) for row in rows]
        write_atomically(self.path, csv_line(self.columns) + "".join(lines))


def csv_line(cells: Sequence[str | float | None]) -> str:
    """A line of a CSV file, in which the cell of None is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
