"""Settings of plain types, refused in one line where they are of another or out of range.

A command line makes words of what is no number: `no` and `off` are texts there, and true as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeGuard, cast

from ganlab.core.errors import ConfigError, require, shown

# Kinds with a range, for the annotations of constructors, which `ganlab.config.kinds` holds the config to.
Count = Annotated[int, 1]
Whole = Annotated[int, 0]
TwoOrMore = Annotated[int, 2]
Positive = Annotated[float, "(0, inf)"]
NotNegative = Annotated[float, "[0, inf)"]
OpenFraction = Annotated[float, "(0, 1)"]
Rate = Annotated[float, "[0, 1)"]
Widths = Sequence[Count]


def is_whole_number(value: object) -> TypeGuard[int]:
    """Whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_count(key: str, value: object, least: int = 1, most: int | None = None) -> int:
    """Returns a whole number from `least` to `most`.

    Raises:
        ConfigError: it is anything else.
    """
    reach = f"of at least {least}" if most is None else f"from {least} to {most}"
    fits = is_whole_number(value) and value >= least and (most is None or value <= most)
    require(fits, key, value, f"must be a whole number {reach}")
    return cast(int, value)


def format_number(value: float) -> str:
    """A measured number as it is printed: three places, and where these would say little, three digits."""
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"


Fact = int | Sequence[float] | None


def check_declared(name: str, declared: Fact, found: Fact) -> None:
    """Refuses a declared fact that the data contradict: networks are built from it, without the data."""
    key, there = f"data.{name}", shown(found)
    require(shown(declared) == there, key, declared, "contradicts the data", f"set {key}={there}")


def check_image_range(declared: Sequence[float] | None) -> tuple[float, float]:
    """The range of images as a pair.

    Raises:
        ConfigError: it is neither [-1, 1] nor [0, 1], the two that generators end in.
    """
    if declared is None or list(declared) not in ([-1, 1], [0, 1]):
        raise ConfigError("not a range of images", "set [-1,1] or [0,1]", "data.range", declared)
    return float(declared[0]), float(declared[1])
