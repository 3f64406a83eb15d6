"""How a round is played: who sees what, and when each moves."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

from ganlab.turn import Batch, Player, Turn

Moves = dict[Player, dict[str, Tensor]]


class Table(Protocol):
    """Where a round is played: the training module."""

    def movers(self) -> tuple[Player, ...]:
        """Who moves in this round, decided once."""

    def turn(self, player: Player, batch: Batch) -> Turn: ...

    def losses(self, turn: Turn) -> dict[str, Tensor]: ...

    def move(self, moves: Moves) -> None:
        """All gradients, then all steps, then all reactions."""


class Play(Protocol):
    takes: ClassVar[frozenset[str]]  # what no trick can have under this play

    def __call__(self, table: Table, batch: Batch) -> None: ...


class Alternating:
    """The discriminator moves, then the generator on fresh fakes against the moved discriminator."""

    takes: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, table: Table, batch: Batch) -> None:
        for player in table.movers():
            table.move({player: table.losses(table.turn(player, batch))})


class Shared:
    """As alternating, but both turns judge the same fakes: one pass through the generator less."""

    takes: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, table: Table, batch: Batch) -> None:
        movers = table.movers()
        turn = table.turn("generator", batch)
        for player in movers:
            seen = turn if player == "generator" else against(turn)
            table.move({player: table.losses(seen)})


class Simultaneous:
    """Both gradients at the same weights, from one pass and one set of verdicts; then both step.

    The code of Goodfellow et al. (2014) plays so.
    """

    takes: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, table: Table, batch: Batch) -> None:
        turn = table.turn("generator", batch)
        views = {
            "generator": turn,
            "discriminator": turn.replace(player="discriminator", made=turn.made, verdicts=turn.verdicts),
        }
        table.move({player: table.losses(views[player]) for player in table.movers()})


def against(turn: Turn) -> Turn:
    """The discriminator's view of the generator's turn: the same fakes, held constant."""
    return turn.replace(player="discriminator", made=turn.made.detach())
