"""What an objective is: both sides of the game in one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Networks, Player, Turn


class Objective(nn.Module, ABC):
    """turn -> named terms, which the player on turn minimises.

    The first term is called "adversarial", "matching" or "reconstruction", and the names of further ones of
    the kind begin so. Terms are [B], [B, h, w] or
    (); the game takes their means after the tricks have had their say.
    """

    players: ClassVar[tuple[Player, ...]] = ("discriminator", "generator")
    num_statistics: ClassVar[int] = (
        0  # numbers that it has an encoder say of each latent; 0: no encoder is built
    )
    provides: frozenset[str]
    needs: frozenset[str] = frozenset()  # of the machine

    def __init__(self, weight: Mapping[Player, float | Schedule]):
        super().__init__()
        if set(weight) != set(self.players):
            raise ConfigError(
                f"objective.weight has {sorted(weight)}, but the players are {sorted(self.players)}"
            )
        self.weight = {
            player: nonzero_schedule(f".weight.{player}", value) for player, value in weight.items()
        }

    def forward(self, turn: Turn) -> dict[str, Tensor]:
        weight = self.weight[turn.player](turn.step)
        terms = self.terms(turn)
        # A product with one would change nothing, and costs a pass forward and one back.
        return terms if weight == 1 else {name: weight * term for name, term in terms.items()}

    def check_networks(self, networks: Networks) -> None:
        """Refuses networks that it could not train.

        Raises:
            ConfigError: the objective cannot train these networks.
        """

    @abstractmethod
    def terms(self, turn: Turn) -> dict[str, Tensor]:
        """The terms before they are weighed."""
