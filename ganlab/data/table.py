"""Data sets of the rows of a table, in a CSV file or a Parquet file."""

import csv
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, Unpack, cast

import torch

from ganlab.core.errors import ConfigError, error_message, require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import NonEmpty, Rate
from ganlab.data.base import Data, DataSettings, check_settings
from ganlab.data.composition import Sources
from ganlab.data.listing import sorted_classes
from ganlab.data.sources import TensorSource

Columns = NonEmpty[str] | None  # names of columns; None: all that have any number
Value = TypeVar("Value")


class Table(Data):
    """The rows of a table, as samples [D] of D columns.

    Each column gets mean 0 and standard deviation 1 or, with `range`, its smallest and its largest value
    become the ends of the range. Only the training samples count for this, so others may exceed the range.

    Args:
        path: the file. The name of a Parquet file ends in `.parquet`. The first line of a CSV file names the
            columns; they are separated by commas, semicolons or tabs, whichever it has most of.
        columns: the columns of a sample; None: all that have any number, except `label`.
        label: the column with the class of each row; None: there are no classes.
        test: the share of the rows in the test split, the same random rows in every run.

    Raises:
        ConfigError: the file cannot be read, a column does not exist or is constant, a cell is empty or not a
            finite number, or a setting contradicts the table.
    """

    def __init__(
        self, path: str, columns: Columns, label: str | None, test: Rate, **settings: Unpack[DataSettings]
    ):
        table = TableFile(path)
        others = [name for name in table.columns if name != label]
        used = columns or [name for name in others if {*map(number, table.columns[name])} != {None}]
        require(used, "has no column of numbers", key=".path", value=path)
        is_distinct = len(set(used)) == len(used)
        require(is_distinct, "names a column twice", "remove one of them", ".columns", columns)
        x = torch.tensor([table.values(".columns", name, number) for name in used], dtype=torch.float64).T
        texts = [] if label is None else table.values(".label", label, text)
        names = sorted_classes(set(texts))
        settings["num_classes"] = settings["num_classes"] or len(names) or None
        check_settings(settings, shape=(len(used),), num_classes=len(names) or None)
        whole = TensorSource(x, torch.tensor([*map(names.index, texts)]) if names else None, flip=False)
        order, num_test = torch.randperm(len(x), generator=seeded_generator("table")), int(test * len(x))
        rows = {"train": order[num_test:].sort().values, "test": order[:num_test].sort().values}

        def load(chosen: Sources) -> Sources:
            tables = cast(dict[str, TensorSource], chosen)
            x = tables["train"].x
            low, high = x.amin(0), x.amax(0)
            constant = [name for name, width in zip(used, high - low, strict=True) if width == 0]
            require(not constant, "are constant in training", "leave them out", ".columns", constant)
            # With a range, samples are stored as 0 to 255, which `scale` brings to the range.
            shift, unit = (x.mean(0), x.std(0)) if settings["range"] is None else (low, (high - low) / 255)
            scaled = {split: ((source.x - shift) / unit).float() for split, source in tables.items()}
            return {split: TensorSource(scaled[split], tables[split].labels, flip=False) for split in tables}

        sources = {split: whole.at(part) for split, part in rows.items() if len(part)}
        super().__init__(**settings, sources=sources, class_names=names or None, load=load)


class TableFile:
    """The cells of each column of a table, and where each row is in the file; `key` is that of its path."""

    def __init__(self, path: str, key: str = ".path"):
        self.path, self.key, file = path, key, Path(path).expanduser()
        try:
            self.columns, self.places = (read_parquet if file.suffix == ".parquet" else read_csv)(file)
        except ModuleNotFoundError as error:
            remedy = "run pip install pyarrow, or save the table as a CSV file"
            raise ConfigError("needs the package pyarrow", remedy, key, path) from error
        except Exception as error:  # pyarrow raises all kinds of errors about damaged files
            raise ConfigError(f"cannot be read ({error_message(error)})", key=key, value=path) from error

    def values(self, key: str, name: str, convert: Callable[[Any], Value | None]) -> list[Value]:
        """The values of a column, which the setting `key` names; refuses a cell that `convert` makes None."""
        choices = f"choose from {', '.join(self.columns)}"
        require(name in self.columns, "is not a column of the table", choices, key, name)
        values = []
        for place, cell in zip(self.places, self.columns[name], strict=True):
            if (value := convert(cell)) is None:
                problem = "is empty" if cell in (None, "") else f"has {cell}, which is not a finite number"
                remedy = "correct it, or leave out the row or the column"
                raise ConfigError(f"{place}, column {name} {problem}", remedy, self.key, self.path)
            values.append(value)
        return values


def number(cell: Any) -> float | None:
    """The finite number in a cell, if there is one."""
    with suppress(TypeError, ValueError):
        return value if isfinite(value := float(cell)) else None
    return None


def text(cell: Any) -> str | None:
    """The text in a cell, if there is any."""
    return None if cell in (None, "") else str(cell)


def read_csv(file: Path) -> tuple[Mapping[str, Sequence[Any]], list[str]]:
    """The cells of the columns by name, and the lines of the rows; blank lines are left out."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        header = stream.readline()
        stream.seek(0)
        reader = csv.reader(stream, delimiter=max(",;\t", key=header.count), strict=True)
        (_, names), *rows = [(f"line {reader.line_num}", cells) for cells in reader if cells] or [("", [])]
    if len(set(names)) < len(names) or not rows:
        raise ValueError("two columns have one name, or there are no rows")
    for line, cells in rows:
        if len(cells) != len(names):
            raise ValueError(f"{line} has {len(cells)} cells, but there are {len(names)} columns")
    columns = zip(*(cells for _, cells in rows), strict=True)
    return dict(zip(names, columns, strict=True)), [line for line, _ in rows]


def read_parquet(file: Path) -> tuple[Mapping[str, Sequence[Any]], list[str]]:
    """The cells of the columns by name, and the numbers of the rows."""
    from pyarrow import parquet  # imported here because it is optional

    table = parquet.read_table(file)
    return table.to_pydict(), [f"row {i}" for i in range(1, len(table) + 1)]
