"""Named ranges of the training loop: the seconds spent in each, and marks in a trace of torch.profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import Any, ClassVar, TypeVar

from torch.profiler import record_function

Function = TypeVar("Function", bound=Callable[..., Any])
OUTSIDE = "Lightning's loop"  # the range of the time outside of every other
NO_RANGE = nullcontext()


class Stopwatch:
    """Seconds by range. An inner range pauses the outer one, so that the seconds add up to the whole time.

    Args:
        synchronize: waits for the work that a device still has to do.
    """

    running: ClassVar[Stopwatch | None] = None

    def __init__(self, synchronize: Callable[[], None]):
        self.synchronize = synchronize
        self.seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = 0.0

    def reset(self) -> None:
        self._charge()
        self.seconds = {}

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        self._charge()
        self._stack.append(name)
        try:
            with record_function(name):
                yield
        finally:
            self._charge()
            self._stack.pop()

    def _charge(self) -> None:
        """Adds the time since the last call to the innermost range."""
        self.synchronize()
        now = perf_counter()
        name = self._stack[-1] if self._stack else OUTSIDE
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


def profile_range(name: str) -> AbstractContextManager[None]:
    """The range of a block, while a stopwatch runs; otherwise a shared context that does nothing.

    An idle `record_function` costs some 20 us, and a step has dozens of ranges.
    """
    return NO_RANGE if Stopwatch.running is None else Stopwatch.running.range(name)


def with_range(name: str, function: Function) -> Function:
    """The function, each of whose calls is a range while a stopwatch runs."""
    return function if Stopwatch.running is None else Stopwatch.running.range(name)(function)
