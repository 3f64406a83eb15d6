"""Plays: the order in which the players of a round compute their losses and move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor

from ganlab.core.turn import Batch, Player, Turn

Moves = dict[Player, dict[str, Tensor]]
Weights = dict[Player, list[Tensor]]


class Stepper(Protocol):
    """What a play steps through: the training module."""

    def active_players(self) -> tuple[Player, ...]: ...

    def turn(self, player: Player, batch: Batch, *phase: str) -> Turn: ...

    def losses(self, turn: Turn) -> dict[str, Tensor]: ...

    def move(self, moves: Moves, start: Weights | None = None) -> None: ...

    def step_ahead(self, moves: Moves) -> Weights: ...


class Play(ABC):
    """Plays one round."""

    @abstractmethod
    def __call__(self, stepper: Stepper, batch: Batch) -> None: ...


class Alternating(Play):
    """The discriminator moves, then the generator on fresh fakes against the updated discriminator."""

    def __call__(self, stepper: Stepper, batch: Batch) -> None:
        for player in stepper.active_players():
            stepper.move({player: stepper.losses(stepper.turn(player, batch))})


class Shared(Play):
    """Alternating, but both turns judge the same fakes: saves one pass through the generator."""

    def __call__(self, stepper: Stepper, batch: Batch) -> None:
        players = stepper.active_players()
        turn = stepper.turn("generator", batch)
        for player in players:
            seen = turn if player == "generator" else discriminator_view(turn)
            stepper.move({player: stepper.losses(seen)})


class Simultaneous(Play):
    """Both gradients at the same weights, from one pass and one set of verdicts; then both players step.

    This is what the code of Goodfellow et al. (2014) does.
    """

    def __call__(self, stepper: Stepper, batch: Batch) -> None:
        stepper.move(simultaneous_losses(stepper, stepper.active_players(), stepper.turn("generator", batch)))


class Extragradient(Play):
    """Both players take a step ahead, and move from their start by the gradients at the point they reached.

    w' = w - step(F(w)), then w <- w - step(F(w')), where F is the gradients of both players at the same
    weights (Gidel et al. 2019, algorithm 2). Both are steps of the optimiser, so the moments of Adam see
    both gradients; this is their Extra-Adam (algorithm 4), whose bias correction in round t is
    1 - beta^(2 t). The second half draws new latents and noise; the real samples are the same in both
    halves. Only the second half is logged and seen by tricks. So weight_clip projects only the final
    weights, where the paper projects those ahead too. Running statistics, as of batch norm, are updated
    in both halves. The paper's average of the weights is the trick ema.
    """

    def __call__(self, stepper: Stepper, batch: Batch) -> None:
        players = stepper.active_players()
        start = stepper.step_ahead(
            simultaneous_losses(stepper, players, stepper.turn("generator", batch, "ahead"))
        )
        stepper.move(simultaneous_losses(stepper, players, stepper.turn("generator", batch)), start)


def simultaneous_losses(stepper: Stepper, players: tuple[Player, ...], turn: Turn) -> Moves:
    """The loss terms of all active players from the generator's turn: one pass, one set of verdicts."""
    views = {
        "generator": turn,
        "discriminator": turn.replace(
            player="discriminator", generated=turn.generated, verdicts=turn.verdicts
        ),
    }
    return {player: stepper.losses(views[player]) for player in players}


def discriminator_view(turn: Turn) -> Turn:
    """The discriminator's view of the generator's turn: the same fakes, detached."""
    return turn.replace(player="discriminator", generated=turn.generated.detach())
