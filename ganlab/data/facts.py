"""Facts that a config declares of its data, refused where they cannot be."""

from __future__ import annotations

from collections.abc import Sequence

from ganlab.core.errors import Refused

Range = tuple[float, float] | None  # of the values of a sample; None: unbounded
Fact = int | Sequence[float] | None


def agree(name: str, declared: Fact, found: Fact) -> None:
    """Refuses a declared fact that the data contradict: networks are built from it, without the data."""
    if shown(declared) != shown(found):
        raise Refused(f"data.{name}={shown(declared)} contradicts the data: set data.{name}={shown(found)}")


def shown(fact: Fact) -> str:
    """A fact as the command line takes it."""
    if fact is None:
        return "null"
    return str(fact) if isinstance(fact, int) else f"[{','.join(f'{part:g}' for part in fact)}]"


def image_range(declared: Sequence[float] | None) -> tuple[float, float]:
    """The range of images as a pair.

    Raises:
        Refused: it is neither [-1, 1] nor [0, 1], the two that generators end in.
    """
    if declared is None or list(declared) not in ([-1, 1], [0, 1]):
        raise Refused(f"data.range={shown(declared)} does not suit images: set data.range=[-1,1] or [0,1]")
    return float(declared[0]), float(declared[1])
