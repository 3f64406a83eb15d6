"""Plays: the order in which the players of a step compute their losses and move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from ganlab.core.turn import Batch, Player, Turn

if TYPE_CHECKING:
    from ganlab.training.module import Phase

LossTerms = dict[Player, dict[str, Tensor]]  # the loss terms of each player that moves, by name
Weights = dict[Player, list[Tensor]]  # the weights of each player


class Play(ABC):
    """Base class of the four plays."""

    @abstractmethod
    def __call__(self, phase: Phase, batch: Batch) -> None:
        """Plays one step of a phase of the run, which provides turns, losses and moves."""


class Alternating(Play):
    """The discriminator moves, then the generator on new fakes against the updated discriminator."""

    def __call__(self, phase: Phase, batch: Batch) -> None:
        for player in phase.active_players():
            phase.move({player: phase.losses(phase.turn(player, batch))})


class Shared(Play):
    """Alternating play in which both turns judge the same fakes; this saves one pass of the generator."""

    def __call__(self, phase: Phase, batch: Batch) -> None:
        players = phase.active_players()
        turn = phase.turn("generator", batch)
        for player in players:
            players_turn = turn if player == "generator" else discriminator_turn(turn)
            phase.move({player: phase.losses(players_turn)})


class Simultaneous(Play):
    """Computes both gradients at the same weights, from the same fakes; then both players move.

    This is what the code of Goodfellow et al. (2014) does.
    """

    def __call__(self, phase: Phase, batch: Batch) -> None:
        phase.move(simultaneous_losses(phase, phase.active_players(), phase.turn("generator", batch)))


class Extragradient(Play):
    """Both players look a step ahead, then move from their old weights by the gradients at the new weights.

    This is algorithm 2 of Gidel et al. (2019): w' = w - U(F(w)), then w <- w - U(F(w')). Here w are the
    weights of both players, F(w) the gradients of both losses at w, and U(F) the update that the optimiser
    makes from a gradient. With Adam it is their Extra-Adam (algorithm 4): both updates enter its moments, so
    the bias correction of step t is 1 - beta^(2 t).

    The second update uses new latents and noise, but the same real samples. Only after the second update are
    the `after_update` hooks of tricks called, and only its loss terms are recorded. So the trick weight_clip
    projects w, but not w', which the paper also projects. Both updates change the running statistics of batch
    norm. The paper's average of the weights is the trick ema.
    """

    def __call__(self, phase: Phase, batch: Batch) -> None:
        players = phase.active_players()
        ahead = simultaneous_losses(phase, players, phase.turn("generator", batch, "ahead"))
        old_weights = phase.step_ahead(ahead)
        terms_by_player = simultaneous_losses(phase, players, phase.turn("generator", batch))
        phase.move(terms_by_player, start=old_weights)


def simultaneous_losses(phase: Phase, players: tuple[Player, ...], turn: Turn) -> LossTerms:
    """The loss terms of all active players, computed from one pass and one set of verdicts.

    Args:
        turn: the turn of the generator.
    """
    # `replace` drops the verdicts if the player changes, so they are given. `generated` is given too, because
    # the discriminator's turn would compute it without gradients if it were the first to need it.
    attached = turn.replace(player="discriminator", generated=turn.generated, verdicts=turn.verdicts)
    turns = {"generator": turn, "discriminator": attached}
    return {player: phase.losses(turns[player]) for player in players}


def discriminator_turn(turn: Turn) -> Turn:
    """The discriminator's turn on the fakes of the generator's turn, detached from the generator."""
    return turn.replace(player="discriminator", generated=turn.generated.detach())
