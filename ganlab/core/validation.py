"""Settings of plain types, refused in one line where they are of another or out of range.

A command line makes words of what is no number: `no` and `off` are texts there, and true as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, TypeGuard

from ganlab.core.errors import ConfigError

# Kinds with a range, for the annotations of constructors, which `ganlab.config.kinds` holds the config to.
Count = Annotated[int, 1]
Whole = Annotated[int, 0]
Several = Annotated[int, 2]
Positive = Annotated[float, "(0, inf)"]
NotNegative = Annotated[float, "[0, inf)"]
Within = Annotated[float, "(0, 1)"]
Rate = Annotated[float, "[0, 1)"]
Widths = Sequence[Count]


def flag(name: str, value: object) -> bool:
    """True or false, and nothing that counts as either."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={value} must be true or false")
    return value


def whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def count(name: str, value: object, least: int = 1, most: int | None = None) -> int:
    """A whole number from `least` on, to `most` where it is given."""
    if not whole(value) or value < least or (most is not None and value > most):
        reach = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name}={value} must be a whole number {reach}")
    return value


def positive(name: str, value: object) -> float:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{name}={value} must be a positive number")
    return float(value)


def digits(value: float) -> str:
    """A measured number as it is printed: three places, and where these would say little, three digits."""
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"


Range = tuple[float, float] | None  # of the values of a sample; None: unbounded
Fact = int | Sequence[float] | None


def agree(name: str, declared: Fact, found: Fact) -> None:
    """Refuses a declared fact that the data contradict: networks are built from it, without the data."""
    if shown(declared) != shown(found):
        raise ConfigError(
            f"data.{name}={shown(declared)} contradicts the data: set data.{name}={shown(found)}"
        )


def shown(fact: Fact) -> str:
    """A fact as the command line takes it."""
    if fact is None:
        return "null"
    return str(fact) if isinstance(fact, int) else f"[{','.join(f'{part:g}' for part in fact)}]"


def image_range(declared: Sequence[float] | None) -> tuple[float, float]:
    """The range of images as a pair.

    Raises:
        ConfigError: it is neither [-1, 1] nor [0, 1], the two that generators end in.
    """
    if declared is None or list(declared) not in ([-1, 1], [0, 1]):
        raise ConfigError(
            f"data.range={shown(declared)} does not suit images: set data.range=[-1,1] or [0,1]"
        )
    return float(declared[0]), float(declared[1])
