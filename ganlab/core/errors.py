"""ganlab's own errors, and how they are reported."""

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 1000  # letters of a message


def printable(text: str) -> str:
    """A text whose bytes that are no letters, and line ends, are escaped: names of files hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def for_terminal(text: str) -> str:
    """A text to be shown: without what a terminal obeys, and cut in its middle, for its ends say most."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST else f"{shown[:600]} ... {shown[-300:]}"


class ConfigError(ValueError):
    """Something cannot be done as asked. The message is one line: the value, and the remedy."""

    def __init__(self, message: str):
        super().__init__(for_terminal(message))


class Diverged(ArithmeticError):  # noqa: N818
    """Training went to NaN or infinity: nothing that came after the last checkpoint is worth keeping."""

    def __init__(self, step: int, what: str):
        super().__init__(f"diverged at round {step}: {what}")
        self.step = step


class IncompleteStudy(RuntimeError):  # noqa: N818
    """Some of the runs that were asked for have not come to their end."""


class RankLost(RuntimeError):  # noqa: N818
    """Another process of the run is gone."""


@contextmanager
def within(place: str | None) -> Iterator[None]:
    """Has a refusal begin with the place that it is about; None: it says so itself."""
    try:
        yield
    except ConfigError as refusal:
        raise (refusal if place is None else ConfigError(f"{place}: {refusal}")) from refusal.__cause__


def one_line(error: BaseException) -> str:
    return for_terminal(" ".join(str(error).split())) or type(error).__name__


def ending(error: BaseException) -> tuple[str, str]:
    """The status and the reason of a run that ended with an error."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped", type(error).__name__
    return ("diverged" if isinstance(error, Diverged) else "failed"), f"{error}" or type(error).__name__
