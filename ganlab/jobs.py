"""The jobs of a sweep (`-m`): what each is called, and a table of how all ended. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ganlab.errors import Refused, ending
from ganlab.values import digits

LONGEST = 200  # characters of a job's name, which a directory and files beside it go by: 255 at most

Result = TypeVar("Result")


class Jobs:
    """The jobs that this process plays.

    Args:
        line: the arguments of the command, which tell what differs from job to job.
    """

    def __init__(self, line: Sequence[str]):
        self.swept: set[str] = set()
        self.rows: list[list[Any]] = []  # name, overrides that differ, status, what the job returned
        for argument in line:
            with suppress(HydraException):
                override = OverridesParser.create().parse_override(argument)
                if override.is_sweep_override():
                    self.swept.add(override.key_or_group)

    def begin(self, number: int, overrides: Sequence[str]) -> str:
        """A name for a job, unlike that of any other, which a shell and Hydra read without quotes."""
        own = [override for override in overrides if override.lstrip("+").split("=")[0] in self.swept]
        words = [re.sub(r"[^A-Za-z0-9_.+-]+", "-", word).strip("-") for word in (str(number), *own)]
        self.rows.append(["_".join(words)[:LONGEST], " ".join(own), "stopped", None])
        return str(self.rows[-1][0])

    def end(self, result: Result) -> Result:
        """Notes what the last job returned, or the error that it ended with, and gives it back."""
        for row in self.rows[-1:]:
            error = isinstance(result, BaseException)
            refused = "refused" if isinstance(result, Refused) else None
            row[2:] = [refused or (ending(result)[0] if error else "finished"), result]
        return result

    def show(self) -> None:
        """Prints the table; nothing where this was no sweep."""
        from rich.console import Console
        from rich.table import Table

        table = Table("job", "overrides", "status", box=None, pad_edge=False)
        found = [row[3] if isinstance(row[3], dict) else {} for row in self.rows]
        names = list(dict.fromkeys(name for numbers in found for name in numbers))
        for name in names:
            table.add_column(name, justify="right")
        for row, numbers in zip(self.rows, found, strict=True):
            table.add_row(*row[:3], *(digits(numbers[name]) if name in numbers else "" for name in names))
        if self.rows:
            Console(width=1000).print("", table)
