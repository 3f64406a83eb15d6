"""The jobs of a sweep (`-m`): what each is called, and a table of how all ended. Imports nothing heavy."""

import re
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ganlab.errors import Refused, ending
from ganlab.values import digits

LONGEST = 200  # characters of a name; that of a directory or a file beside it has 255 at most


class Jobs:
    """The jobs of a command line, whose words are `line`, as far as this process plays them."""

    def __init__(self, line: Sequence[str]):
        self.line = line
        self.swept = {word.split("=")[0] for word in line if set(word) & set(",(")}  # and some that are not
        self.rows: list[list[str]] = []

    def begin(self, number: int, overrides: Sequence[str]) -> str:
        """A name for a job, unlike that of any other, which a shell and Hydra read without quotes."""
        own = [word for word in overrides if word not in self.line and word.split("=")[0] in self.swept]
        words = (re.sub(r"[^A-Za-z0-9_.+-]+", "-", word).strip("-") for word in (str(number), *own))
        self.rows.append([str(number), " ".join(own), "stopped", ""])
        return "_".join(words)[:LONGEST]

    def end(self, result: Any) -> Any:
        """Notes what the last job returned, or the error that it ended with, and gives it back."""
        error = isinstance(result, BaseException)
        status = "refused" if isinstance(result, Refused) else ending(result)[0] if error else "finished"
        found = result.items() if isinstance(result, dict) else ()
        for row in self.rows[-1:]:
            row[2:] = status, ", ".join(f"{name} {digits(value)}" for name, value in found)
        return result

    def show(self) -> None:
        """Prints the table; nothing where this was no sweep."""
        table = Table("job", "overrides", "status", "metrics", box=None, pad_edge=False)
        for row in self.rows:
            table.add_row(*row)
        if self.rows:
            Console(width=1000).print("", table)
