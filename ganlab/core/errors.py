"""ganlab's own errors, and how they are reported."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LONGEST = 1000  # letters of a message


def printable(text: str) -> str:
    """A text whose bytes that are no letters, and line ends, are escaped: names of files hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def for_terminal(text: str) -> str:
    """A text to be shown: without what a terminal obeys, and cut in its middle, for its ends say most."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST else f"{shown[:600]} ... {shown[-300:]}"


UNSET: Any = ...  # no value; unlike an object(), it is the same after pickling, as errors of workers are


def shown(value: object) -> str:
    """A value as the command line takes it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


class ConfigError(ValueError):
    """A setting that cannot be used. The message is one line, `key=value: reason. Remedy.`

    Args:
        reason: what is wrong, as a phrase without a full stop.
        remedy: what to do, as an imperative without a full stop; empty: the reason implies it.
        key: the setting. A leading dot marks a setting of the object that raises: `completing` puts the
            object's own key before it, which only what builds the object knows. Empty: no single setting.
        value: as it was given; shown as the command line takes it.
    """

    def __init__(self, reason: str, remedy: str = "", key: str = "", value: object = UNSET):
        self.reason, self.remedy, self.key, self.value = reason, remedy, key, value
        setting = key.lstrip(".") + ("" if value is UNSET else f"={shown(value)}")
        text = f"{setting}: {reason}" if setting else reason
        super().__init__(for_terminal(f"{text}. {remedy[0].upper()}{remedy[1:]}." if remedy else text))

    def renamed(self, key: str) -> "ConfigError":
        """The same error about another key."""
        return ConfigError(self.reason, self.remedy, key, self.value)


def require(condition: object, key: str, value: object, reason: str, remedy: str = "") -> None:
    """Raises `ConfigError` unless the condition holds."""
    if not condition:
        raise ConfigError(reason, remedy, key, value)


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
def completing(owner: str) -> Iterator[None]:
    """Puts the key of the object that is built or called before the keys of its own settings."""
    try:
        yield
    except ConfigError as error:
        if not error.key.startswith("."):
            raise
        raise error.renamed(f"{owner}{error.key}") from error.__cause__


@contextmanager
def within(place: str | None, joint: str = ": ") -> Iterator[None]:
    """Puts a place before the keys of errors, such as a file or a stage; None: the keys are complete."""
    try:
        yield
    except ConfigError as error:
        key = joint.join(filter(None, (place, error.key.lstrip("."))))
        raise (error if place is None else error.renamed(key)) from error.__cause__


def one_line(error: BaseException) -> str:
    return for_terminal(" ".join(str(error).split())) or type(error).__name__


def ending(error: BaseException) -> tuple[str, str]:
    """The status and the reason of a run that ended with an error."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped", type(error).__name__
    return ("diverged" if isinstance(error, Diverged) else "failed"), f"{error}" or type(error).__name__
