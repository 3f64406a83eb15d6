"""Whose networks a trick changes, where that can be chosen."""

from typing import Literal

from ganlab.errors import Refused
from ganlab.turn import Offer, Player

Side = Literal["discriminator", "generator", "both"]

SIDES: dict[str, tuple[Player, ...]] = {
    "discriminator": ("discriminator",),
    "generator": ("generator",),
    "both": ("discriminator", "generator"),
}
SCALES = {"discriminator": Offer.DISCRIMINATOR_SCALE, "generator": Offer.GENERATOR_SCALE}


def chosen(name: str, side: str) -> tuple[Player, ...]:
    """The players of a side; `name` is the setting's."""
    if side not in SIDES:
        raise Refused(f"{name}={side} must be one of {', '.join(SIDES)}")
    return SIDES[side]


def needed(players: tuple[Player, ...]) -> frozenset[Offer]:
    """What a trick must find to change the networks of these players."""
    return frozenset({Offer.DISCRIMINATOR} if "discriminator" in players else ())


def scales(players: tuple[Player, ...]) -> frozenset[Offer]:
    """What a trick takes that says itself how large the weights of these players are."""
    return frozenset(SCALES[player] for player in players)
