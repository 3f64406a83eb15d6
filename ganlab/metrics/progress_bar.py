"""A progress bar for long work, such as an evaluation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LONG_WAIT = 60.0  # seconds; if more are left, an estimate is printed even without a terminal
ESTIMATE_AFTER = 3.0  # seconds of work, after which the time left is estimated


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Opens a progress bar that counts, for example, "images", and yields a function that advances it.

    Without a terminal, it prints the remaining time once, if that is long.
    """
    console = Console()
    began, done, estimated = perf_counter(), 0, False
    with Progress(
        TextColumn(what), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=total)

        def advance(count: int) -> None:
            nonlocal done, estimated
            done += count
            bar.advance(task, count)
            if not estimated and (spent := perf_counter() - began) >= ESTIMATE_AFTER:
                estimated = True
                left = spent * (total - done) / done
                if left >= LONG_WAIT:
                    bar.console.print(f"{total:,} {what}: {left / 60:.0f} min", highlight=False)

        yield advance
