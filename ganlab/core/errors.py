"""ganlab's own errors, and how they are reported.

An object that is built from a node of the config does not know the key of that node. So it raises errors with
relative keys, which start with a dot: ".gamma" is its setting `gamma`, and "." is the object itself. The code
that builds or calls the object knows the key of the node, and completes relative keys: within
`completing_relative_keys("trick.mine")`, ".gamma" becomes trick.mine.gamma, as the user typed it. A key
without a dot at its start is absolute, and is not completed.

If a whole config is a part of a larger one, such as the config of a stage, `prefixing_all_keys` prepends the
name of that part to relative and absolute keys.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

MAX_LENGTH = 1000  # the largest number of characters of a message


def escape_unprintable(text: str) -> str:
    """A text with escapes for unprintable characters and line ends, which file names may contain."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def terminal_text(text: str) -> str:
    """A text with escapes for control characters; without its middle, if it is longer than `MAX_LENGTH`."""
    text = escape_unprintable(text)
    return text if len(text) <= MAX_LENGTH else f"{text[:600]} ... {text[-300:]}"


# Stands for "no value". It is `...` rather than object(), because errors of worker processes are pickled,
# which preserves the identity of `...` only.
UNSET: Any = ...


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
        key: the setting's key, absolute or relative; empty if the error concerns no single setting.
        value: the setting's value, as it was given.
    """

    def __init__(self, reason: str, remedy: str = "", key: str = "", value: object = UNSET):
        self.reason, self.remedy, self.key, self.value = reason, remedy, key, value
        setting = key.lstrip(".") + ("" if value is UNSET else f"={format_value(value)}")
        text = f"{setting}: {reason}" if setting else reason
        super().__init__(terminal_text(f"{text}. {remedy[0].upper()}{remedy[1:]}." if remedy else text))

    def with_key(self, key: str) -> "ConfigError":
        """The same error with a different key."""
        return ConfigError(self.reason, self.remedy, key, self.value)


def require(condition: object, reason: str, remedy: str = "", key: str = "", value: object = UNSET) -> None:
    """Raises a `ConfigError` with the other arguments unless the condition holds."""
    if not condition:
        raise ConfigError(reason, remedy, key, value)


class Diverged(ArithmeticError):  # noqa: N818
    """Training reached NaN or infinity, so only the last checkpoint is usable."""

    def __init__(self, step: int, what: str):
        super().__init__(f"diverged at step {step}: {what}")


class UnfinishedRuns(RuntimeError):  # noqa: N818
    """Some runs of a study did not finish."""


class ProcessLost(RuntimeError):  # noqa: N818
    """A different process, on which this one depends, has ended."""


@contextmanager
def renaming_keys(rename: Callable[[str], str]) -> Iterator[None]:
    """Changes the keys of the errors that the block raises."""
    try:
        yield
    except ConfigError as error:
        renamed = error.with_key(rename(error.key))
        raise renamed.with_traceback(error.__traceback__) from error.__cause__


def completing_relative_keys(owner: str) -> AbstractContextManager[None]:
    """Prepends the key of an object to the relative keys of its errors; absolute keys stay as they are."""
    # "." is the key of the object itself, which becomes `owner`.
    return renaming_keys(lambda key: f"{owner}{key}".rstrip(".") if key.startswith(".") else key)


def prefixing_all_keys(prefix: str | None, separator: str = ": ") -> AbstractContextManager[None]:
    """Prepends a prefix, such as a file or a stage, to relative and absolute keys.

    An error without a key gets the prefix as its key.

    Args:
        prefix: the text to prepend; None: keys stay as they are, as in the main game, which is in no stage.
        separator: the text between the prefix and the key.
    """
    start = "" if prefix is None else f"{prefix}{separator}"
    return renaming_keys(lambda key: f"{start}{key.lstrip('.')}".removesuffix(separator) if start else key)


def error_message(error: BaseException) -> str:
    """The message of an error in one line; the name of its class if it has no message."""
    return terminal_text(" ".join(str(error).split())) or type(error).__name__


def final_status(error: BaseException) -> tuple[str, str]:
    """The final status of a run that was ended by an exception, and the reason."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped", type(error).__name__
    return ("diverged" if isinstance(error, Diverged) else "failed"), str(error) or type(error).__name__
