"""What is seen of small games, and whether a trick changed it."""

from __future__ import annotations

from functools import cache

import torch
from support.small_games import game, modules_by_play, options, play_step

from ganlab.core.errors import ConfigError
from ganlab.training.module import GameModule

PLAYS = options("play")
PLAYS_OF_MODEL = {"mlp": PLAYS, "dcgan": ["shared"]}  # and the ways in which they are played
# What changes nothing in the first two rounds, and in how many it does in a pair.
STEPS_UNTIL_EFFECT = {
    "adaptive_augment": 12,
    "historical_averaging": 4,
    "lookahead": 6,
    "replay_buffer": 6,
    "adaptive_balance": 4,
}


def observables(module: GameModule) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """What a trick may change: terms, weights, samples."""
    return dict(module.recorder.scalars), [*module.game.weights("generator"), module.game.sample(8)]


def observables_differ(one, other) -> bool:
    """Whether anything differs that both show: a further term that moves nothing does not count."""
    common = one[0].keys() & other[0].keys()
    pairs = [*((one[0][name], other[0][name]) for name in common), *zip(one[1], other[1], strict=False)]
    return len(one[1]) != len(other[1]) or any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


def modules_differ(one: GameModule, other: GameModule) -> bool:
    return observables_differ(observables(one), observables(other))


class RecordedGame:
    """What is seen round by round of a game, played once for all that are compared with it."""

    def __init__(self, objective: str, play: str, model: str, *tricks: str):
        self.module = game(objective, tricks, play, model=model)
        self.rounds: list = []

    def after(self, step: int):
        while len(self.rounds) < step:
            play_step(self.module)
            terms, tensors = observables(self.module)
            self.rounds.append((terms, [tensor.clone() for tensor in tensors]))
        return self.rounds[step - 1]


recorded_game = cache(RecordedGame)


def modules_or_refusal(plays, objective: str, tricks, model: str) -> tuple[list[tuple[str, GameModule]], str]:
    """The games of each way of playing, or none and why they are refused."""
    try:
        return list(modules_by_play(plays, objective, tricks, model)), ""
    except ConfigError as refusal:
        return [], str(refusal)


@cache  # and asked for by tests alone: to find it takes seconds, which no import should
def compatible_tricks(tricks: tuple[str, ...] = tuple(options("trick"))) -> list[str]:
    """All tricks that go together, taken greedily in their order."""
    together: list[str] = []
    for trick in tricks:
        if modules_or_refusal(PLAYS[:1], "non_saturating", [*together, trick], "mlp")[0]:
            together.append(trick)
    return together
