from typing import Literal

from ganlab.core.turn import Capability
from ganlab.tricks.base import Trick

PlayerChoice = Literal["discriminator", "generator", "both"]


class PlayerTrick(Trick):
    """Base class of tricks whose setting `player` selects the networks that they change."""

    selects_player = True

    def __init__(self, player: PlayerChoice):
        super().__init__()
        self.player = player
        self.players = ("discriminator", "generator") if player == "both" else (player,)
        self.needs = frozenset({Capability.DISCRIMINATOR} if "discriminator" in self.players else ())

    @property
    def weight_scales(self) -> frozenset[Capability]:
        """The scales of these players' weights, claimed by tricks that normalise weights."""
        return frozenset(Capability[f"{player.upper()}_SCALE"] for player in self.players)
