"""ganlab's own errors, and how they are reported.

A `ConfigError` names the wrong setting by its key, as the user types it, for example trick.mine.gamma. But
the object of the trick `mine` does not know its place in the config, trick.mine. So errors have these keys:

".gamma"         a relative key: the setting `gamma` of the object that raises the error
"."              a relative key: this object itself
"data.root"      an absolute key: the setting of this name, wherever the error is raised
""               no key, because the error concerns no single setting

The code that builds or calls the object knows its place, and completes relative keys: if a block with
`completing_relative_keys("trick.mine")` raises an error with the key ".gamma", the key becomes
trick.mine.gamma. Other keys stay as they are.

The config of a stage is a part of the config of a run. In it, even absolute keys lack the name of the stage,
which `prefixing_all_keys` adds.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
        key: the key of the setting, which may be relative or empty (see above).
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

    def of_part(self, group: str, name: str) -> "ConfigError":
        """The same error with a complete key, if the metric or trick of this name has raised it.

        Of the metric prdc, ".k" becomes "metric.prdc.k". Without a key, the error is about the whole metric.
        """
        whole = ConfigError(self.reason, self.remedy, group, name)
        completed = self.with_key(complete_key(self.key, f"{group}.{name}")) if self.key else whole
        return completed.with_traceback(self.__traceback__)


def require(condition: object, reason: str, remedy: str = "", key: str = "", value: object = UNSET) -> None:
    """Raises `ConfigError(reason, remedy, key, value)` unless the condition holds."""
    if not condition:
        raise ConfigError(reason, remedy, key, value)


class Diverged(ArithmeticError):  # noqa: N818
    """Training reached NaN or infinity, so only the last checkpoint is usable."""

    def __init__(self, step: int, what: str):
        super().__init__(f"diverged at step {step}: {what}")


class UnfinishedRuns(RuntimeError):  # noqa: N818
    """Some runs of a suite or of a sweep did not finish."""


class ProcessLost(RuntimeError):  # noqa: N818
    """A different process, on which this one depends, has ended."""


@contextmanager
def renaming_keys(rename: Callable[[str], str]) -> Iterator[None]:
    """Passes on every `ConfigError` that the block raises, with the key that `rename` returns for its key."""
    try:
        yield
    except ConfigError as error:
        raise error.with_key(rename(error.key)).with_traceback(error.__traceback__) from error.__cause__


def complete_key(key: str, owner: str) -> str:
    """A relative key of the object `owner` as an absolute one; other keys stay as they are."""
    return f"{owner}{key}".rstrip(".") if key.startswith(".") else key


def completing_relative_keys(owner: str) -> AbstractContextManager[None]:
    """Completes the keys of the errors that the block raises, as `complete_key` does."""
    return renaming_keys(lambda key: complete_key(key, owner))


def prefixing_all_keys(prefix: str | None, separator: str = ": ") -> AbstractContextManager[None]:
    """Prepends a prefix, such as a file or a stage, to the key of every error that the block raises.

    An error without a key gets the prefix as its key. If there is no prefix, as for the main game, which is
    in no stage, keys stay as they are.
    """
    if prefix is None:
        return nullcontext()
    return renaming_keys(lambda key: f"{prefix}{separator}{key.lstrip('.')}".removesuffix(separator))


def error_message(error: BaseException) -> str:
    """The message of an error in one line; the name of its class if it has no message."""
    return terminal_text(" ".join(str(error).split())) or type(error).__name__


def final_status(error: BaseException) -> tuple[str, str]:
    """The final status of a run that was ended by an exception, and the reason."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped", type(error).__name__
    return ("diverged" if isinstance(error, Diverged) else "failed"), str(error) or type(error).__name__
