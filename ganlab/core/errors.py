"""ganlab's own errors, and how they are reported."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

MAX_LENGTH = 1000  # characters of a message


def printable(text: str) -> str:
    """Escapes unprintable characters and line ends, which file names may contain."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def for_terminal(text: str) -> str:
    """A text without control characters; if it is too long, without its middle."""
    text = printable(text)
    return text if len(text) <= MAX_LENGTH else f"{text[:600]} ... {text[-300:]}"


UNSET: Any = ...  # no value; unlike an object(), it is the same after pickling, as errors of workers are


def format_value(value: object) -> str:
    """A value in the syntax of the command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


class ConfigError(ValueError):
    """A setting that cannot be used. The message is one line, `key=value: reason. Remedy.`

    Args:
        reason: what is wrong, as a phrase without a full stop.
        remedy: what to do, as an imperative without a full stop; empty if the reason implies it.
        key: the setting's key; empty if the error concerns no single setting. A leading dot marks a setting
            of the object that raises, and a dot alone the object itself; the code that builds or calls the
            object prepends the object's key by `completing_relative_keys`.
        value: the setting's value, as it was given.
    """

    def __init__(self, reason: str, remedy: str = "", key: str = "", value: object = UNSET):
        self.reason, self.remedy, self.key, self.value = reason, remedy, key, value
        setting = key.lstrip(".") + ("" if value is UNSET else f"={format_value(value)}")
        text = f"{setting}: {reason}" if setting else reason
        super().__init__(for_terminal(f"{text}. {remedy[0].upper()}{remedy[1:]}." if remedy else text))

    def renamed(self, key: str) -> "ConfigError":
        """The same error with another key."""
        return ConfigError(self.reason, self.remedy, key, self.value)


def require(condition: object, key: str, value: object, reason: str, remedy: str = "") -> None:
    """Raises `ConfigError` unless the condition holds."""
    if not condition:
        raise ConfigError(reason, remedy, key, value)


class Diverged(ArithmeticError):  # noqa: N818
    """Training reached NaN or infinity, so only the last checkpoint is usable."""

    def __init__(self, step: int, what: str):
        super().__init__(f"diverged at step {step}: {what}")
        self.step = step


class IncompleteStudy(RuntimeError):  # noqa: N818
    """Some runs of a study did not finish."""


class ProcessLost(RuntimeError):  # noqa: N818
    """Another process of the run has ended."""


@contextmanager
def renaming_keys(rename: Callable[[str], str]) -> Iterator[None]:
    """Changes the keys of errors."""
    try:
        yield
    except ConfigError as error:
        key = rename(error.key)
        raise (error if key == error.key else error.renamed(key)) from error.__cause__


def completing_relative_keys(owner: str) -> AbstractContextManager[None]:
    """Prepends the key of an object to the keys of errors about its own settings, which start with a dot."""
    return renaming_keys(lambda key: f"{owner}{key}".rstrip(".") if key.startswith(".") else key)


def prefixing_all_keys(place: str | None, joint: str = ": ") -> AbstractContextManager[None]:
    """Prepends a place, such as a file or a stage, to the keys of all errors; None: changes nothing."""
    return renaming_keys(
        lambda key: key if place is None else joint.join(filter(None, (place, key.lstrip("."))))
    )


def one_line(error: BaseException) -> str:
    """The message of an error in one line; its class if it has none."""
    return for_terminal(" ".join(str(error).split())) or type(error).__name__


def final_status(error: BaseException) -> tuple[str, str]:
    """The final status of a run that an exception ended, and the reason."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped", type(error).__name__
    return ("diverged" if isinstance(error, Diverged) else "failed"), f"{error}" or type(error).__name__
