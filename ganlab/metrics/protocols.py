"""Numbers compare where they were made alike: how two were made unlike, and what is refused for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ganlab.core.errors import ConfigError

# What a record has beside how its number was made.
FOUND = {"value", "better", "step", "beside", "floor", "floor_n", "floor_split"}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """In what the protocols of two records of a number differ, and how; None for what one lacks."""
    keys = [key for key in {**one, **other} if key not in FOUND]
    pairs = {key: (one.get(key), other.get(key)) for key in keys}
    return {key: (mine, theirs) for key, (mine, theirs) in pairs.items() if mine != theirs}


def refuse_unlike(name: str, records: Mapping[str, Mapping[str, Any]], ignored: Collection[str] = ()) -> None:
    """Refuses to set numbers beside each other that were not made alike.

    Args:
        name: of the number, for the message.
        records: of whose it is, likewise; each a number with its protocol.
        ignored: facts that may differ.

    Raises:
        ConfigError: likewise, naming the first difference.
    """
    (first, reference), *others = records.items()
    for other, record in others:
        for key, (mine, theirs) in differences(reference, record).items():
            if key in ignored:
                continue
            raise ConfigError(
                f"{name} of {first} and of {other} do not compare: {key} is {mine} and {theirs}; "
                "measure both alike"
            )
