"""Every trick beside every other. The lists are read from conf/: a new file is tested without an edit."""

from __future__ import annotations

import math
from itertools import combinations

import docs
import pytest
from support.daily_sample import daily_pairs
from support.small_games import compatible_objective, game, options, play_steps
from support.trick_effects import (
    PLAYS,
    PLAYS_OF_MODEL,
    STEPS_UNTIL_EFFECT,
    compatible_tricks,
    modules_differ,
    modules_or_refusal,
    observables,
    observables_differ,
    recorded_game,
)

from ganlab.training.module import GameModule

TRICKS = options("trick")
REFUSED = docs.read_refused()
# What acts on a game that needs it, and settings with which it does so on any.
EAGER = {"adaptive_balance": ["trick.adaptive_balance.low=null", "trick.adaptive_balance.high=0.1"]}
# What is only seen once the generator moves, which critic_steps lets it do in each fifth round.
CRITIC_STEPS = 5
GENERATORS = {
    "feature_matching",
    "inverted_labels",
    "lookahead",
    "mode_seeking",
    "orthogonal_regularisation",
    "top_k",
    "unrolled",
}


@pytest.mark.parametrize(("model", "plays"), PLAYS_OF_MODEL.items(), ids=PLAYS_OF_MODEL)
@pytest.mark.parametrize(("one", "other"), daily_pairs(combinations(TRICKS, 2)))
def test_a_pair_plays_alike_in_both_orders_or_refuses(
    one: str, other: str, model: str, plays: list[str]
) -> None:
    pair = one, other
    objective = compatible_objective(*pair)
    games, refusal = modules_or_refusal(plays, objective, pair, model)
    assert bool(refusal) == (pair in REFUSED.pairs), "run make docs"
    if refusal:
        assert pair[0] in refusal
        assert pair[1] in refusal
        assert modules_or_refusal(plays, objective, pair[::-1], model) == ([], refusal)
    for play, module in games:
        terms = play_steps(module, 2)
        assert all(math.isfinite(value) for row in terms for value in row.values())
        if model == "mlp" and play == plays[0]:  # the order is the same fold's, whatever the networks
            twin = game(objective, pair[::-1], play, model=model)
            assert play_steps(twin, 2) == terms
            assert not modules_differ(module, twin)
            both_act(pair, objective, play, module)


def both_act(pair: tuple[str, str], objective: str, play: str, module: GameModule) -> None:
    """What is seen after some rounds with a pair is seen with neither of its tricks alone."""
    for trick, other in sorted((pair, pair[::-1]), key=lambda turn: until(*turn)):
        eager = game(objective, pair, play, *EAGER[trick]) if trick in EAGER else module
        play_steps(eager, until(trick, other) - eager.game.step)
        without = recorded_game(objective, play, "mlp", other).after(until(trick, other))
        assert observables_differ(observables(eager), without), f"{trick} changes nothing beside {other}"


def until(trick: str, other: str) -> int:
    """The round in which a trick is seen to act beside another."""
    waits = CRITIC_STEPS if trick in GENERATORS and other == "critic_steps" else 1
    return waits * STEPS_UNTIL_EFFECT.get(trick, 2)


@pytest.mark.parametrize("play", PLAYS)
def test_the_largest_set_plays_together(play: str) -> None:
    module = game("non_saturating", compatible_tricks(), play)
    assert all(math.isfinite(value) for row in play_steps(module, 3) for value in row.values())
