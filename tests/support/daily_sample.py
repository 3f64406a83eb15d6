"""A daily sample of thousands of similar test cases.

`make test` runs few pairs of tricks that share no hook and a fifth of the others, few pairs and objectives on
the DCGAN, a fifth of the other objectives with each trick, of the tricks in each home, of the trainings on
Gaussians and of the attacks inside borrowed runs, a third of the refusals of a command line and of the
commands on pages, one tutorial, and one play of each case; and on one day of two to four each of the slowest
tests, such as most of those that kill runs or start several processes. It draws another sample each day, so
that every case runs sooner or later.
`make test-all` runs every case.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Hashable, Iterable
from datetime import date
from inspect import isfunction
from itertools import groupby
from typing import Any, TypeVar

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf
from support.small_games import option_config

from ganlab.config.compose import CONF
from ganlab.tricks.base import Order, Trick

# Inherited by pytest's worker processes, which must collect the same cases also around midnight.
DAY = os.environ.setdefault("GANLAB_DAY", date.today().isoformat())
SHARE = 0.05  # of the pairs of tricks that cannot interact
A_FIFTH, A_THIRD = 1 / 5, 1 / 3
SHARE_ON_DCGAN = 0.25  # of the other pairs, all of which are tested on the MLP
Case = TypeVar("Case", bound=Hashable)  # of one argument, or a tuple of several
Test = TypeVar("Test", bound=Callable[..., Any])
run_all = False  # set by the option --all
BOOKKEEPING = {"scalars", "get_extra_state", "set_extra_state"}
HOOKS = [name for name, value in vars(Trick).items() if isfunction(value) and name not in BOOKKEEPING]
WHOLE_GAME = {Order.REPLACE, Order.RESHAPE, Order.OBSERVE}  # tricks of these orders affect every other trick


def daily_cases(today: Iterable[Case], every: Iterable[Case]) -> list[Any]:
    """All cases for `parametrize`; those that are not in `today` are marked for `make test-all`."""
    today, left_out = set(today), pytest.mark.for_test_all
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if case in today else left_out)
        for case in every
    ]


def daily_pairs(every: list[tuple[str, str]]) -> list[Any]:
    """Each pair of tricks on the MLP and on the DCGAN, for `parametrize`.

    Most pairs that cannot interact, four fifths of the others, and most on the DCGAN are for `make test-all`.
    """
    draw = random.Random(DAY)
    pairs = [p for p in every if draw.random() < (A_FIFTH if can_interact(*p) else SHARE)]
    on_dcgan = [pair for pair in pairs if draw.random() < SHARE_ON_DCGAN]
    today = [(*pair, "mlp") for pair in pairs] + [(*pair, "dcgan") for pair in on_dcgan]
    return daily_cases(today, [(*pair, model) for model in ("mlp", "dcgan") for pair in every])


def daily_choice(cases: list[Case]) -> Case:
    """One of several cases, another one each day."""
    return random.Random(DAY).choice(cases)


def daily_draw(every: Iterable[Case], share: float) -> list[Case]:
    """A share of the cases, another one each day."""
    draw = random.Random(DAY)
    return [case for case in every if draw.random() < share]


def daily_share(every: Iterable[Case], share: float) -> list[Any]:
    """All cases for `parametrize`, of which `make test` runs a share."""
    every = list(every)
    return daily_cases(daily_draw(every, share), every)


def on_one_day_of(days: int) -> Callable[[Test], Test]:
    """A decorator of a slow test, which `make test` runs on one day of so many."""

    def draw(test: Test) -> Test:
        is_due = random.Random(f"{DAY} {test.__name__}").randrange(days) == 0
        return test if is_due else pytest.mark.for_test_all(test)

    return draw


def can_interact(one: str, other: str) -> bool:
    """Whether two tricks share a hook, or one of them has an order that concerns every trick."""
    classes = [get_class(option_config("trick", trick)[trick]._target_) for trick in (one, other)]
    if any(trick.order in WHOLE_GAME for trick in classes):
        return True
    return any(all(overrides_hook(trick, hook) for trick in classes) for hook in HOOKS)


def overrides_hook(trick: type[Trick], hook: str) -> bool:
    """Whether a trick implements a hook; `terms` counts as `losses`, to which the terms are added."""
    hooks = ("losses", "terms") if hook == "losses" else (hook,)
    return any(getattr(trick, name) is not getattr(Trick, name) for name in hooks)


def one_play_each(every: Iterable[tuple]) -> list[tuple]:
    """One of neighbouring cases (..., play) that differ in the play alone, another one each day."""
    draw = random.Random(DAY)
    return [draw.choice(list(cases)) for _, cases in groupby(every, key=lambda case: case[:-1])]


def daily_play(plays: list[str], *case: str) -> list[str]:
    """One of the plays in which a case is tested, another one each day; all of them in `make test-all`."""
    return plays if run_all else random.Random(f"{DAY} {case}").sample(plays, min(1, len(plays)))


def one_of_each_family(objectives: Iterable[str]) -> set[str]:
    """One objective of each family, another one each day."""
    draw = random.Random(DAY)
    families = groupby(sorted(objectives, key=family), key=family)
    return {draw.choice(list(members)) for _, members in families}


def family(objective: str) -> str:
    """The module in ganlab/objectives that contains the objective."""
    return str(OmegaConf.load(CONF / "objective" / f"{objective}.yaml")._target_).rpartition(".")[0]
