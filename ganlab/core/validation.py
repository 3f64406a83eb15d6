"""Types of settings with their ranges, as annotations of constructors, and functions for single values."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeGuard, TypeVar

from ganlab.core.errors import require

# Annotations of constructor parameters, which `ganlab.config.setting_types` checks. A number is annotated
# with the interval of its values, a list with the interval of its length.
Count = Annotated[int, "[1, inf)"]
Whole = Annotated[int, "[0, inf)"]  # the whole numbers, 0, 1, 2, ...
TwoOrMore = Annotated[int, "[2, inf)"]
Positive = Annotated[float, "(0, inf)"]
NotNegative = Annotated[float, "[0, inf)"]
OpenFraction = Annotated[float, "(0, 1)"]
Rate = Annotated[float, "[0, 1)"]
Item = TypeVar("Item")
NonEmpty = Annotated[Sequence[Item], "[1, inf)"]
Widths = Sequence[Count]
ValueRange = tuple[float, float] | None  # the smallest and the largest element of samples; None: unbounded


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer, which may be negative; a boolean is not one."""
    return isinstance(value, int) and not isinstance(value, bool)


def in_interval(value: float, interval: str) -> bool:
    """Whether a number lies in an interval, such as "(0, 1]"."""
    low, high = map(float, interval[1:-1].split(","))
    above_low = low < value or (low == value and interval[0] == "[")
    below_high = value < high or (value == high and interval[-1] == "]")
    return above_low and below_high


def describe_interval(interval: str) -> str:
    """An interval in words, such as "a number of at least 0"."""
    low, high = interval[1:-1].split(", ")
    if high == "inf":
        return "a positive number" if interval[0] == "(" else f"a number of at least {low}"
    relation = {"()": "strictly between", "[]": "between"}.get(interval[0] + interval[-1])
    return f"a number {relation} {low} and {high}" if relation else f"a number in {interval}"


def validated_whole_number(key: str, value: Any) -> int:
    """The value; raises `ConfigError` unless it is a whole number of at least 0."""
    require(is_integer(value) and value >= 0, "must be a whole number of at least 0", key=key, value=value)
    return value


def require_whole_groups(setting: str, size: int, num_rows: int, row_name: str) -> None:
    """Raises `ConfigError` unless a batch of `num_rows` can be divided into groups of the same size.

    Args:
        setting: the name of the setting that holds the size of a group.
        row_name: the plural noun for the rows, for the message.
    """
    reason = f"gives each process {num_rows} {row_name}, which is not a multiple of {setting}={size}"
    require(num_rows % size == 0, reason, "change one of them", "data.batch_size")


def format_number(value: float) -> str:
    """A measured number as text: three decimal places, or three significant digits below 0.1."""
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"
