"""Every pair of tricks. The lists are read from conf/: a new file is tested without an edit."""

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
# Overrides with which a trick that intervenes only in unbalanced games takes effect in every game.
ACTIVATING_OVERRIDES = {
    "adaptive_balance": ["trick.adaptive_balance.low=null", "trick.adaptive_balance.high=0.1"]
}
CRITIC_STEPS = 5  # with trick critic_steps the generator is updated in every fifth step
GENERATOR_TRICKS = {  # tricks whose effect shows only once the generator is updated
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
def test_a_pair_plays_identically_in_both_orders_or_is_refused(
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
        if model == "mlp" and play == plays[0]:  # the order depends neither on the networks nor on the play
            twin = game(objective, pair[::-1], play, model=model)
            assert play_steps(twin, 2) == terms
            assert not modules_differ(module, twin)
            assert_both_take_effect(pair, objective, play, module)


def assert_both_take_effect(pair: tuple[str, str], objective: str, play: str, module: GameModule) -> None:
    """Each trick of a pair changes the game that has only the other one."""
    for trick, other in sorted((pair, pair[::-1]), key=lambda order: steps_until_effect(*order)):
        overrides = ACTIVATING_OVERRIDES.get(trick)
        both = game(objective, pair, play, *overrides) if overrides else module
        steps = steps_until_effect(trick, other)
        play_steps(both, steps - both.game.run_step)
        without = recorded_game(objective, play, "mlp", other).observables_after(steps)
        assert observables_differ(observables(both), without), f"{trick} has no effect in addition to {other}"


def steps_until_effect(trick: str, other: str) -> int:
    """The step after which a trick must have changed a game with another trick."""
    period = CRITIC_STEPS if trick in GENERATOR_TRICKS and other == "critic_steps" else 1
    return period * STEPS_UNTIL_EFFECT.get(trick, 2)


@pytest.mark.parametrize("play", PLAYS)
def test_a_large_set_of_tricks_plays_together(play: str) -> None:
    module = game("non_saturating", compatible_tricks(), play)
    assert all(math.isfinite(value) for row in play_steps(module, 3) for value in row.values())
