"""How a round is played: who sees what, and when each moves."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from ganlab.turn import Batch, Player, Turn

Moves = dict[Player, dict[str, Tensor]]
Weights = dict[Player, list[Tensor]]


class Table(Protocol):
    """Where a round is played: the training module."""

    def movers(self) -> tuple[Player, ...]:
        """Who moves in this round, decided once."""

    def turn(self, player: Player, batch: Batch, *look: str) -> Turn:
        """A player's view of the round; each further look at it, named by a word, has draws of its own."""

    def losses(self, turn: Turn) -> dict[str, Tensor]: ...

    def extrapolate(self, moves: Moves) -> Weights:
        """All gradients, then all steps, to which nobody reacts; gives the weights that they started from."""

    def move(self, moves: Moves, start: Weights | None = None) -> None:
        """All gradients, then all steps, from `start` if it is given, then all reactions."""


@runtime_checkable
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
        table.move(at_once(table, table.movers(), table.turn("generator", batch)))


class Extragradient:
    """Both players look a step ahead, and move from where they were by the gradients they find there.

    w' = w - step(F(w)), then w <- w - step(F(w')), F being the gradients of both at the same weights
    (Gidel et al. 2019, algorithm 2). Both are steps of the optimiser: one with moments takes in both
    gradients, so Adam is their Extra-Adam (algorithm 4), which in round t corrects its bias by
    1 - beta^(2 t). Latents and all other draws of the second half are new; the real samples are the round's
    in both. Terms are told, and tricks react, once: of and to the second half; so weight_clip projects
    the move and not, as the paper does, the look ahead too. What networks keep count of, such as the
    statistics of batch norm, goes on in both. Their average of the weights is trick ema.
    """

    takes: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, table: Table, batch: Batch) -> None:
        movers = table.movers()
        start = table.extrapolate(at_once(table, movers, table.turn("generator", batch, "ahead")))
        table.move(at_once(table, movers, table.turn("generator", batch)), start)


def at_once(table: Table, movers: tuple[Player, ...], turn: Turn) -> Moves:
    """The terms of all who move, from the generator's turn: one pass, one set of verdicts."""
    views = {
        "generator": turn,
        "discriminator": turn.replace(player="discriminator", made=turn.made, verdicts=turn.verdicts),
    }
    return {player: table.losses(views[player]) for player in movers}


def against(turn: Turn) -> Turn:
    """The discriminator's view of the generator's turn: the same fakes, held constant."""
    return turn.replace(player="discriminator", made=turn.made.detach())
