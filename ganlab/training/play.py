"""How a round is played: who sees what, and when each moves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from ganlab.core.turn import Batch, Player, Turn

if TYPE_CHECKING:
    from ganlab.training.base import GameModule

Moves = dict[Player, dict[str, Tensor]]
Weights = dict[Player, list[Tensor]]


class Play(ABC):
    """A way of playing; `table` is the training module, where a round is played."""

    @abstractmethod
    def __call__(self, table: GameModule, batch: Batch) -> None: ...


class Alternating(Play):
    """The discriminator moves, then the generator on fresh fakes against the moved discriminator."""

    def __call__(self, table: GameModule, batch: Batch) -> None:
        for player in table.movers():
            table.move({player: table.losses(table.turn(player, batch))})


class Shared(Play):
    """As alternating, but both turns judge the same fakes: one pass through the generator less."""

    def __call__(self, table: GameModule, batch: Batch) -> None:
        movers = table.movers()
        turn = table.turn("generator", batch)
        for player in movers:
            seen = turn if player == "generator" else against(turn)
            table.move({player: table.losses(seen)})


class Simultaneous(Play):
    """Both gradients at the same weights, from one pass and one set of verdicts; then both step.

    The code of Goodfellow et al. (2014) plays so.
    """

    def __call__(self, table: GameModule, batch: Batch) -> None:
        table.move(at_once(table, table.movers(), table.turn("generator", batch)))


class Extragradient(Play):
    """Both players look a step ahead, and move from where they were by the gradients they find there.

    w' = w - step(F(w)), then w <- w - step(F(w')), F being the gradients of both at the same weights
    (Gidel et al. 2019, algorithm 2). Both are steps of the optimiser: one with moments takes in both
    gradients, so Adam is their Extra-Adam (algorithm 4), which in round t corrects its bias by
    1 - beta^(2 t). Latents and all other draws of the second half are new; the real samples are the round's
    in both. Terms are told, and tricks react, once: of and to the second half; so weight_clip projects
    the move and not, as the paper does, the look ahead too. What networks keep count of, such as the
    statistics of batch norm, goes on in both. Their average of the weights is trick ema.
    """

    def __call__(self, table: GameModule, batch: Batch) -> None:
        movers = table.movers()
        start = table.extrapolate(at_once(table, movers, table.turn("generator", batch, "ahead")))
        table.move(at_once(table, movers, table.turn("generator", batch)), start)


def at_once(table: GameModule, movers: tuple[Player, ...], turn: Turn) -> Moves:
    """The terms of all who move, from the generator's turn: one pass, one set of verdicts."""
    views = {
        "generator": turn,
        "discriminator": turn.replace(player="discriminator", made=turn.made, verdicts=turn.verdicts),
    }
    return {player: table.losses(views[player]) for player in movers}


def against(turn: Turn) -> Turn:
    """The discriminator's view of the generator's turn: the same fakes, held constant."""
    return turn.replace(player="discriminator", made=turn.made.detach())
