"""A daily sample of thousands of similar test cases.

`make test` leaves out most pairs of tricks that share no hook and, on the DCGAN, most objectives of a family.
It draws another sample each day, so that every case runs sooner or later. `make test-all` runs every case.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from datetime import date
from inspect import isfunction
from itertools import groupby
from typing import Any

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf
from support.small_games import option_config

from ganlab.config.compose import CONF
from ganlab.tricks.base import Order, Trick

# Inherited by pytest's worker processes, which must collect the same cases also around midnight.
DAY = os.environ.setdefault("GANLAB_DAY", date.today().isoformat())
SHARE = 0.1  # of the pairs of tricks that cannot interact
BOOKKEEPING = {"scalars", "get_extra_state", "set_extra_state"}
HOOKS = [name for name, value in vars(Trick).items() if isfunction(value) and name not in BOOKKEEPING]
WHOLE_GAME = {Order.REPLACE, Order.RESHAPE, Order.OBSERVE}  # tricks of these orders affect every other trick


def daily_cases(today: Iterable[tuple], every: Iterable[tuple]) -> list[Any]:
    """All cases for `parametrize`; those that are not in `today` are marked for `make test-all`."""
    today = set(today)
    return [case if case in today else pytest.param(*case, marks=pytest.mark.for_test_all) for case in every]


def daily_pairs(every: Iterable[tuple[str, str]]) -> list[Any]:
    """All pairs of tricks for `parametrize`; of those that cannot interact, most are for `make test-all`."""
    every = list(every)
    draw = random.Random(DAY)
    return daily_cases([pair for pair in every if draw.random() < SHARE or can_interact(*pair)], every)


def daily_share(every: Iterable[tuple], share: float) -> list[Any]:
    """All cases for `parametrize`, of which `make test` runs a share."""
    every, draw = list(every), random.Random(DAY)
    return daily_cases([case for case in every if draw.random() < share], every)


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


def one_play_each(every: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """One of the cases (home, trick, play) of each home and trick, another one each day."""
    draw = random.Random(DAY)
    return [draw.choice(list(cases)) for _, cases in groupby(every, key=lambda case: case[:2])]


def one_of_each_family(objectives: Iterable[str]) -> set[str]:
    """One objective of each family, another one each day."""
    draw = random.Random(DAY)
    families = groupby(sorted(objectives, key=family), key=family)
    return {draw.choice(list(members)) for _, members in families}


def family(objective: str) -> str:
    """The module in ganlab/objectives that contains the objective."""
    return str(OmegaConf.load(CONF / "objective" / f"{objective}.yaml")._target_).rpartition(".")[0]
