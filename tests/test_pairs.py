"""Every pair of tricks. The lists are read from conf/: a new file is tested without an edit."""

from __future__ import annotations

import math
from itertools import combinations, product

import docs
import pytest
from support.daily_sample import daily_pairs, daily_play, daily_share
from support.small_games import (
    HOMES,
    compatible_objective,
    game,
    model_of,
    needs_pairs,
    options,
    play_steps,
)
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
    "pixel_loss",
    "top_k",
    "unrolled",
}


@pytest.mark.parametrize(("one", "other", "model"), daily_pairs(list(combinations(TRICKS, 2))))
def test_a_pair_plays_identically_in_both_orders_or_is_refused(one: str, other: str, model: str) -> None:
    pair = one, other
    if model == "dcgan" and any(map(needs_pairs, pair)):
        return  # no DCGAN translates images
    model = model_of(*pair) if model == "mlp" else model
    first, *others = PLAYS_OF_MODEL[model]
    plays = [first, *daily_play(others, *pair)]
    objective = compatible_objective(*pair)
    games, refusal = modules_or_refusal(plays, objective, pair, model)
    assert bool(refusal) == (pair in REFUSED.pairs), "run make docs"
    if refusal and not is_refused_alone(pair, model):
        assert pair[0] in refusal
        assert pair[1] in refusal
    if refusal:
        assert modules_or_refusal(plays, objective, pair[::-1], model) == ([], refusal)
    for play, module in games:
        terms = play_steps(module, 2)
        assert all(math.isfinite(value) for row in terms for value in row.values())
        if model != "dcgan" and play == first:  # the order depends neither on the networks nor on the play
            twin = game(objective, pair[::-1], play, model=model)
            assert play_steps(twin, 2) == terms
            assert not modules_differ(module, twin)
            assert_both_take_effect(pair, objective, play, model, module)


def is_refused_alone(pair: tuple[str, str], model: str) -> bool:
    return any((trick, model) in REFUSED.homes for trick in pair)


def assert_both_take_effect(
    pair: tuple[str, str], objective: str, play: str, model: str, module: GameModule
) -> None:
    """Each trick of a pair changes the game that has only the other one."""
    for trick, other in sorted((pair, pair[::-1]), key=lambda order: steps_until_effect(*order)):
        overrides = ACTIVATING_OVERRIDES.get(trick)
        both = game(objective, pair, play, *overrides, model=model) if overrides else module
        steps = steps_until_effect(trick, other)
        play_steps(both, steps - both.game.run_step)
        without = recorded_game(objective, play, model, other).observables_after(steps)
        assert observables_differ(observables(both), without), f"{trick} has no effect in addition to {other}"


def steps_until_effect(trick: str, other: str) -> int:
    """The step after which a trick must have changed a game with another trick."""
    period = CRITIC_STEPS if trick in GENERATOR_TRICKS and other == "critic_steps" else 1
    return period * STEPS_UNTIL_EFFECT.get(trick, 2)


HOMES_OF_PAIRS = ["pix2pix", "cyclegan"]
PAIRS_IN_HOMES = list(product(HOMES_OF_PAIRS, combinations(TRICKS, 2)))


@pytest.mark.parametrize(("home", "pair"), daily_share(PAIRS_IN_HOMES, 0.02))
def test_a_pair_plays_identically_in_both_orders_in_a_home(home: str, pair: tuple[str, str]) -> None:
    objective, _ = HOMES[home]
    refusals = []
    for tricks in (pair, pair[::-1]):
        modules, refusal = modules_or_refusal(PLAYS[:1], objective, tricks, home)
        refusals.append(refusal)
        terms = [play_steps(module, 2) for _, module in modules]
        assert all(math.isfinite(value) for rows in terms for row in rows for value in row.values())
        if tricks == pair:
            first, first_terms = modules, terms
    assert refusals[0] == refusals[1]
    if not refusals[0]:
        assert terms == first_terms
        assert not modules_differ(first[0][1], modules[0][1])


@pytest.mark.parametrize("play", PLAYS)
def test_a_large_set_of_tricks_plays_together(play: str) -> None:
    module = game("non_saturating", compatible_tricks(), play)
    assert all(math.isfinite(value) for row in play_steps(module, 3) for value in row.values())
