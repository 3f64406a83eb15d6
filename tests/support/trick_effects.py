"""What is seen of small games, and whether a trick changed it."""

from __future__ import annotations

from functools import cache

import torch
from support.small_games import game, in_plays, one_round, options

from ganlab.core.errors import ConfigError
from ganlab.training.module import GameModule

PLAYS = options("play")
MODELS = {"mlp": PLAYS, "dcgan": ["shared"]}  # and the ways in which they are played
# What changes nothing in the first two rounds, and in how many it does in a pair.
LATER = {
    "adaptive_augment": 12,
    "historical_averaging": 4,
    "lookahead": 6,
    "replay_buffer": 6,
    "adaptive_balance": 4,
}


def seen(module: GameModule) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """What a trick may change: terms, weights, samples."""
    return dict(module.recorder.scalars), [*module.game.weights("generator"), module.game.sample(8)]


def differ(one, other) -> bool:
    """Whether anything differs that both show: a further term that moves nothing does not count."""
    common = one[0].keys() & other[0].keys()
    pairs = [*((one[0][name], other[0][name]) for name in common), *zip(one[1], other[1], strict=False)]
    return len(one[1]) != len(other[1]) or any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


def differs(one: GameModule, other: GameModule) -> bool:
    return differ(seen(one), seen(other))


class Played:
    """What is seen round by round of a game, played once for all that are compared with it."""

    def __init__(self, objective: str, play: str, model: str, *tricks: str):
        self.module = game(objective, tricks, play, model=model)
        self.rounds: list = []

    def after(self, step: int):
        while len(self.rounds) < step:
            one_round(self.module)
            terms, tensors = seen(self.module)
            self.rounds.append((terms, [tensor.clone() for tensor in tensors]))
        return self.rounds[step - 1]


played = cache(Played)


def attempt(plays, objective: str, tricks, model: str) -> tuple[list[tuple[str, GameModule]], str]:
    """The games of each way of playing, or none and why they are refused."""
    try:
        return list(in_plays(plays, objective, tricks, model)), ""
    except ConfigError as refusal:
        return [], str(refusal)


@cache  # and asked for by tests alone: to find it takes seconds, which no import should
def largest_set(tricks: tuple[str, ...] = tuple(options("trick"))) -> list[str]:
    """All tricks that go together, taken greedily in their order."""
    together: list[str] = []
    for trick in tricks:
        if attempt(PLAYS[:1], "non_saturating", [*together, trick], "mlp")[0]:
            together.append(trick)
    return together
