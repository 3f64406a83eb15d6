"""Observable quantities of small games, and whether a trick changes them."""

from __future__ import annotations

from functools import cache

import torch
from support.small_games import MODELS, game, modules_by_play, options, play_step

from ganlab.core.errors import ConfigError
from ganlab.training.module import GameModule

PLAYS = options("play")
PLAYS_OF_MODEL = {**dict.fromkeys(MODELS, PLAYS), "dcgan": ["shared"]}
# Tricks without effect in the first two steps: the step by which they take effect, also in a pair.
STEPS_UNTIL_EFFECT = {
    "adaptive_augment": 12,
    "historical_averaging": 4,
    "lookahead": 6,
    "replay_buffer": 6,
    "adaptive_balance": 4,
}


def observables(module: GameModule) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """The logged terms; the generator's weights and eight samples. A trick must change some of these."""
    return dict(module.scalars), [*module.game.weights("generator"), module.game.sample(8)]


def observables_differ(one, other) -> bool:
    """Whether common terms, weights or samples differ: an additional term alone is no effect."""
    common = one[0].keys() & other[0].keys()
    pairs = [*((one[0][name], other[0][name]) for name in common), *zip(one[1], other[1], strict=False)]
    return len(one[1]) != len(other[1]) or any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


def modules_differ(one: GameModule, other: GameModule) -> bool:
    return observables_differ(observables(one), observables(other))


class RecordedGame:
    """A game and its observables after every step, which many tests compare with."""

    def __init__(self, objective: str, play: str, model: str, *tricks: str):
        self.module = game(objective, tricks, play, model=model)
        self.history: list = []

    def observables_after(self, steps: int):
        while len(self.history) < steps:
            play_step(self.module)
            terms, tensors = observables(self.module)
            self.history.append((terms, [tensor.clone() for tensor in tensors]))
        return self.history[steps - 1]


recorded_game = cache(RecordedGame)


def modules_or_refusal(plays, objective: str, tricks, model: str) -> tuple[list[tuple[str, GameModule]], str]:
    """The game in each play and an empty message; or no game and the message of the refusal."""
    try:
        return list(modules_by_play(plays, objective, tricks, model)), ""
    except ConfigError as refusal:
        return [], str(refusal)


@cache  # takes seconds: to be called in tests, not at import
def compatible_tricks(tricks: tuple[str, ...] = tuple(options("trick"))) -> list[str]:
    """A set of tricks that can be combined: each of `tricks` in turn, unless those before it exclude it."""
    accepted: list[str] = []
    for trick in tricks:
        if modules_or_refusal(PLAYS[:1], "non_saturating", [*accepted, trick], "mlp")[0]:
            accepted.append(trick)
    return accepted
