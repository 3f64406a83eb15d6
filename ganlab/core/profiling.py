"""Named ranges of the training loop: the seconds that each takes, and its mark in torch.profiler's trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import Any, ClassVar, TypeVar

from torch.profiler import record_function

Function = TypeVar("Function", bound=Callable[..., Any])
OUTSIDE = "Lightning's loop"  # the name for the time outside of all ranges
NO_RANGE = nullcontext()


class Stopwatch:
    """The seconds spent in each range. An inner range pauses the outer one, so they add up to the total.

    Args:
        synchronize: waits until the device has finished its pending work.
    """

    running: ClassVar[Stopwatch | None] = None  # the one stopwatch that is running, if any

    def __init__(self, synchronize: Callable[[], None]):
        self.synchronize = synchronize
        self.seconds: dict[str, float] = {}  # by the name of the range
        self._stack: list[str] = []  # names of the ranges that are open, the innermost last
        self._added_until = perf_counter()  # all time before this moment has been added to a range

    def start(self) -> None:
        """Starts to measure, from zero; `profile_range` uses this stopwatch as long as it is `running`."""
        self._add_elapsed_time()  # so that the time before this call is not added later
        self.seconds = {}
        Stopwatch.running = self

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """A context that adds the time of its block to the seconds of the range with this name."""
        self._add_elapsed_time()
        self._stack.append(name)
        try:
            with record_function(name):
                yield
        finally:
            self._add_elapsed_time()
            self._stack.pop()

    def _add_elapsed_time(self) -> None:
        """Adds the time since the last call to the innermost open range."""
        self.synchronize()
        now = perf_counter()
        name = self._stack[-1] if self._stack else OUTSIDE
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._added_until
        self._added_until = now


def profile_range(name: str) -> AbstractContextManager[None]:
    """A context whose time the running stopwatch adds to a range. If no stopwatch runs, it does nothing.

    If no stopwatch runs, torch.profiler gets no mark either, because each `record_function` costs some 20 us,
    and a step has dozens of ranges.
    """
    return NO_RANGE if Stopwatch.running is None else Stopwatch.running.measure(name)


def profiled(name: str, function: Function) -> Function:
    """The function with each call in a range, if a stopwatch runs now; otherwise the function itself."""
    # The context that `measure` returns also serves as a decorator, which opens a new range for each call.
    return function if Stopwatch.running is None else Stopwatch.running.measure(name)(function)
