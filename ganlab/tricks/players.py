"""Whose networks a trick changes, where that can be chosen."""

from typing import Literal

from ganlab.core.turn import Capability, Player

Side = Literal["discriminator", "generator", "both"]

SIDES: dict[Side, tuple[Player, ...]] = {
    "discriminator": ("discriminator",),
    "generator": ("generator",),
    "both": ("discriminator", "generator"),
}
SCALES = {"discriminator": Capability.DISCRIMINATOR_SCALE, "generator": Capability.GENERATOR_SCALE}


def needed(players: tuple[Player, ...]) -> frozenset[Capability]:
    """What a trick must find to change the networks of these players."""
    return frozenset({Capability.DISCRIMINATOR} if "discriminator" in players else ())


def scales(players: tuple[Player, ...]) -> frozenset[Capability]:
    """What a trick takes that says itself how large the weights of these players are."""
    return frozenset(SCALES[player] for player in players)
