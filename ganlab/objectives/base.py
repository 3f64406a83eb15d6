"""Base class of objectives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from ganlab.core.errors import UNSET, require
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Networks, Player, Turn


class Objective(nn.Module, ABC):
    """The loss of each player: turn -> named terms, whose weighted sum the player on turn minimises.

    Terms are [B], [B, h, w] or (); the game averages them after the tricks have changed them. The first one
    is called "adversarial", "matching" or "reconstruction"; further terms of that kind have it as a prefix.

    Args:
        weight: a factor for all terms of each player, positive or a schedule.

    Raises:
        ConfigError: a weight is missing, negative or zero, or is that of a player who does not take part.
    """

    players: ClassVar[tuple[Player, ...]] = ("discriminator", "generator")
    num_statistics: ClassVar[int] = 0  # number of encoder outputs for each latent element; 0: no encoder
    provides: frozenset[str]  # capabilities that tricks may need
    needs: frozenset[str] = frozenset()  # capabilities of the settings, such as second derivatives

    def __init__(self, weight: Mapping[Player, ScheduleLike]):
        super().__init__()
        players = " and ".join(self.players)
        require(
            set(weight) == set(self.players), ".weight", UNSET, f"needs the keys {players}, and no others"
        )
        self.weight = {
            player: nonzero_schedule(f".weight.{player}", value) for player, value in weight.items()
        }

    @classmethod
    def has_encoder(cls) -> bool:
        """Whether an encoder is trained together with the generator."""
        return cls.num_statistics > 0

    def forward(self, turn: Turn) -> dict[str, Tensor]:
        weight = self.weight[turn.player](turn.step)
        terms = self.terms(turn)
        # A product with 1 would change nothing, but costs a pass forward and one backward.
        return terms if weight == 1 else {name: weight * term for name, term in terms.items()}

    def check_networks(self, networks: Networks) -> None:
        """Raises `ConfigError` if the objective cannot train these networks."""

    @abstractmethod
    def terms(self, turn: Turn) -> dict[str, Tensor]:
        """The terms before they are weighted."""
