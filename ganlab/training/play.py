"""Plays: the order in which the players of a step compute their losses and move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from ganlab.core.batch import Batch
from ganlab.core.players import Player
from ganlab.core.turn import Turn

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
    """Alternating play in which all turns have the same fakes; this saves passes of the generator.

    The discriminator moves first, and then all other players at once, because a move of one of them would
    change the weights through which the gradients of the others flow.
    """

    def __call__(self, phase: Phase, batch: Batch) -> None:
        players = phase.active_players()
        turn = phase.leading_turn(batch)
        if "discriminator" in players:
            phase.move({"discriminator": phase.losses(turn.detached())})
        if others := [player for player in players if player != "discriminator"]:
            phase.move(simultaneous_losses(phase, others, turn))


class Simultaneous(Play):
    """Computes all gradients at the same weights, from the same fakes; then all players move.

    This is what the code of Goodfellow et al. (2014) does.
    """

    def __call__(self, phase: Phase, batch: Batch) -> None:
        phase.move(simultaneous_losses(phase, phase.active_players(), phase.leading_turn(batch)))


class Extragradient(Play):
    """All players look a step ahead, then move from their old weights by the gradients at the new weights.

    This is algorithm 2 of Gidel et al. (2019): w' = w - U(F(w)), then w <- w - U(F(w')). Here w are the
    weights of all players, F(w) the gradients of their losses at w, and U(F) the update that the optimiser
    makes from a gradient. With Adam it is their Extra-Adam (algorithm 4): both updates enter its moments, so
    the bias correction of step t is 1 - beta^(2 t).

    The second update uses new latents and noise, but the same real samples. Only after the second update are
    the `after_update` hooks of tricks called, and only its loss terms are recorded. So the trick weight_clip
    projects w, but not w', which the paper also projects. Both updates change the running statistics of batch
    norm. The paper's average of the weights is the trick ema.
    """

    def __call__(self, phase: Phase, batch: Batch) -> None:
        players = phase.active_players()
        ahead = simultaneous_losses(phase, players, phase.leading_turn(batch, "ahead"))
        old_weights = phase.step_ahead(ahead)
        phase.move(simultaneous_losses(phase, players, phase.leading_turn(batch)), start=old_weights)


def simultaneous_losses(phase: Phase, players: Iterable[Player], turn: Turn) -> LossTerms:
    """The loss terms of some players, computed from one pass and one set of verdicts.

    Args:
        turn: the turn of any player but the discriminator, whose fakes have gradients to the generator. All
            players see these fakes, also the discriminator.
    """
    return {player: phase.losses(turn.seen_by(player)) for player in players}
