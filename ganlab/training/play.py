"""Plays: the order in which the players of a step compute their losses and move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from ganlab.core.turn import Batch, Player, Turn

if TYPE_CHECKING:
    from ganlab.training.module import Stage

Moves = dict[Player, dict[str, Tensor]]  # the loss terms by name, of each player that moves
Weights = dict[Player, list[Tensor]]  # the weights of each player


class Play(ABC):
    """Base class of the four plays."""

    @abstractmethod
    def __call__(self, stage: Stage, batch: Batch) -> None:
        """Plays one step through the stage, which provides turns, losses and moves."""


class Alternating(Play):
    """The discriminator moves, then the generator on new fakes against the updated discriminator."""

    def __call__(self, stage: Stage, batch: Batch) -> None:
        for player in stage.active_players():
            stage.move({player: stage.losses(stage.turn(player, batch))})


class Shared(Play):
    """Alternating, but both turns judge the same fakes, which saves one pass through the generator."""

    def __call__(self, stage: Stage, batch: Batch) -> None:
        players = stage.active_players()
        turn = stage.turn("generator", batch)
        for player in players:
            view = turn if player == "generator" else discriminator_view(turn)
            stage.move({player: stage.losses(view)})


class Simultaneous(Play):
    """Both gradients at the same weights, from one pass and one set of verdicts; then both players step.

    This is what the code of Goodfellow et al. (2014) does.
    """

    def __call__(self, stage: Stage, batch: Batch) -> None:
        stage.move(simultaneous_losses(stage, stage.active_players(), stage.turn("generator", batch)))


class Extragradient(Play):
    """Both players take a step ahead; the gradients there then move them from their old weights.

    w' = w - step(F(w)), then w <- w - step(F(w')), where F is the gradients of both players at the same
    weights (Gidel et al. 2019, algorithm 2). Both are steps of the optimiser, so the moments of Adam see
    both gradients; this is their Extra-Adam (algorithm 4), whose bias correction in step t is
    1 - beta^(2 t). The second half draws new latents and noise; the real samples are the same in both
    halves. Only the second half is recorded and seen by the tricks, so weight_clip projects only the final
    weights, where the paper also projects those ahead. Running statistics, as of batch norm, are updated
    in both halves. The paper's average of the weights is the trick ema.
    """

    def __call__(self, stage: Stage, batch: Batch) -> None:
        players = stage.active_players()
        ahead = simultaneous_losses(stage, players, stage.turn("generator", batch, "ahead"))
        start = stage.step_ahead(ahead)
        stage.move(simultaneous_losses(stage, players, stage.turn("generator", batch)), start)


def simultaneous_losses(stage: Stage, players: tuple[Player, ...], turn: Turn) -> Moves:
    """The loss terms of all active players from the generator's turn: one pass, one set of verdicts."""
    # Verdicts are passed on explicitly, because `replace` drops them: a new player usually needs new ones.
    same = turn.replace(player="discriminator", generated=turn.generated, verdicts=turn.verdicts)
    views = {"generator": turn, "discriminator": same}
    return {player: stage.losses(views[player]) for player in players}


def discriminator_view(turn: Turn) -> Turn:
    """The discriminator's view of the generator's turn: the same fakes, detached."""
    return turn.replace(player="discriminator", generated=turn.generated.detach())
