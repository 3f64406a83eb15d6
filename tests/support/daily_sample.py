"""Which of thousands of like cases `make test` plays; `make test-all` plays every one.

Left out are most pairs of tricks that share no hook, and on the DCGAN most objectives of a family.
Another sample of them is drawn each day, so that none stays unplayed for long.
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

# Further processes of pytest, begun before midnight or after it, must collect the same.
DAY = os.environ.setdefault("GANLAB_DAY", date.today().isoformat())
SHARE = 0.1  # of the pairs that share no hook
BOOKKEEPING = {"scalars", "get_extra_state", "set_extra_state"}
HOOKS = [name for name, value in vars(Trick).items() if isfunction(value) and name not in BOOKKEEPING]
FIRST_OR_LAST = {Order.REPLACE, Order.RESHAPE, Order.OBSERVE}  # they act on what every other trick has done


def daily_cases(played: Iterable[tuple], every: Iterable[tuple]) -> list[Any]:
    """All cases for `parametrize`; those that are not played today are marked for `make test-all`."""
    today = set(played)
    return [case if case in today else pytest.param(*case, marks=pytest.mark.for_test_all) for case in every]


def daily_pairs(every: Iterable[tuple[str, str]]) -> list[Any]:
    """Pairs of tricks: all that can meet in a hook, and a sample of the others."""
    every = list(every)
    draw = random.Random(DAY)
    return daily_cases([pair for pair in every if draw.random() < SHARE or can_interact(*pair)], every)


def can_interact(one: str, other: str) -> bool:
    classes = [get_class(option_config("trick", trick)[trick]._target_) for trick in (one, other)]
    if any(of.order in FIRST_OR_LAST for of in classes):
        return True
    return any(all(overrides_hook(of, hook) for of in classes) for hook in HOOKS)


def overrides_hook(of: type[Trick], hook: str) -> bool:
    """Whether a trick changes the value of a hook; added terms change the losses."""
    hooks = ("losses", "terms") if hook == "losses" else (hook,)
    return any(getattr(of, name) is not getattr(Trick, name) for name in hooks)


def one_of_each_family(objectives: Iterable[str]) -> set[str]:
    """One objective of each module of ganlab/objectives, drawn anew each day."""
    draw = random.Random(DAY)
    return {draw.choice(list(alike)) for _, alike in groupby(sorted(objectives, key=family), key=family)}


def family(objective: str) -> str:
    return str(OmegaConf.load(CONF / "objective" / f"{objective}.yaml")._target_).rpartition(".")[0]
