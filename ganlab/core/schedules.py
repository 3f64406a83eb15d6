"""Schedules: numbers that change with the step. Wherever one is accepted, a plain number is accepted too."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ganlab.core.errors import format_value, require
from ganlab.core.validation import Count, Positive, Whole, describe_interval, in_interval


class Schedule(ABC):
    """Base class of functions from the number of steps so far to a number, monotone from `start` to `end`."""

    start: float
    end: float

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The number at a step."""

    @property
    def maximum(self) -> float:
        """The largest value at any step."""
        return max(self.start, self.end)


class Constant(Schedule):
    """The same number at every step."""

    def __init__(self, value: float):
        self.start = self.end = float(value)

    def __call__(self, step: int) -> float:
        return self.start


class Piecewise(Schedule):
    """A step function: values[0] before step milestones[0], values[1] before milestones[1], and so on."""

    def __init__(self, values: Sequence[float], milestones: Sequence[int]):
        values, milestones = list(values), list(milestones)
        increasing = all(earlier < later for earlier, later in pairwise([0, *milestones]))
        require(increasing, "must be positive and increasing", key=".milestones", value=milestones)
        reason = f"needs one element more than milestones={format_value(milestones)}"
        require(len(values) == len(milestones) + 1, reason, key=".values", value=values)
        monotone = values in (sorted(values), sorted(values, reverse=True))
        require(monotone, "must be monotone", key=".values", value=values)
        self.values, self.milestones = list(map(float, values)), milestones
        self.start, self.end = self.values[0], self.values[-1]

    def __call__(self, step: int) -> float:
        return self.values[bisect_right(self.milestones, step)]


class Ramp(Schedule):
    """Base class of transitions from `start` to `end` that begin at step `after` and take `steps` steps."""

    def __init__(self, start: float, end: float, steps: Count, after: Whole = 0):
        self.start, self.end, self.steps, self.after = float(start), float(end), steps, after

    def progress(self, step: int) -> float:
        """The completed fraction of the ramp, in [0, 1]."""
        return min(max((step - self.after) / self.steps, 0.0), 1.0)


class Linear(Ramp):
    """A transition along a straight line."""

    def __call__(self, step: int) -> float:
        return self.start + (self.end - self.start) * self.progress(step)


class Cosine(Ramp):
    """Half a period of a cosine from `start` to `end` (Loshchilov & Hutter 2017, equation 5, one cycle)."""

    def __call__(self, step: int) -> float:
        return self.end + (self.start - self.end) * (0.5 + 0.5 * math.cos(math.pi * self.progress(step)))


class Exponential(Ramp):
    """A transition by a constant factor per step, start (end / start)^progress, between positive numbers."""

    def __init__(self, start: Positive, end: Positive, steps: Count, after: Whole = 0):
        super().__init__(start, end, steps, after)

    def __call__(self, step: int) -> float:
        return self.start * (self.end / self.start) ** self.progress(step)


class WarmUp(Schedule):
    """A decay of a moving average that rises to `end`: min((1 + step) / (10 + step), end).

    The average forgets fast in early steps. The formula is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, end: float):
        self.start, self.end = min(0.1, float(end)), float(end)

    def __call__(self, step: int) -> float:
        return min((1 + step) / (10 + step), self.end)


class HalfLife(Schedule):
    """The decay 2^(-1 / h) of a moving average with the half-life h = min(steps, share * step).

    So the average forgets fast in early steps. The code of Karras et al. 2020 has this ramp with share 0.05.

    Args:
        steps: the largest half-life, in steps.
        share: the half-life as a fraction of the steps so far, until the largest half-life is reached.
    """

    def __init__(self, steps: Positive, share: Positive):
        self.steps, self.share = float(steps), float(share)
        self.start, self.end = self(1), 0.5 ** (1 / self.steps)

    def __call__(self, step: int) -> float:
        return 0.5 ** (1 / min(self.steps, self.share * max(step, 1)))


ScheduleLike = float | Schedule  # a number is the same at every step


def check_schedule(key: str, value: ScheduleLike, interval: str) -> None:
    """Raises `ConfigError` unless a number, or each value of a schedule, lies in an interval."""
    is_accepted = isinstance(value, int | float | Schedule) and not isinstance(value, bool)
    require(is_accepted, "must be a number", key=key, value=value)
    # Schedules are monotone, so all values lie between these two.
    extremes = (value.start, value.end) if isinstance(value, Schedule) else (float(value),)
    reason = f"must be {describe_interval(interval)}"
    for extreme in extremes:
        require(in_interval(extreme, interval), reason, key=key, value=extreme)


def as_schedule(key: str, value: ScheduleLike, interval: str) -> Schedule:
    """A schedule unchanged, or a number as a schedule, after `check_schedule` with the same arguments."""
    check_schedule(key, value, interval)
    return value if isinstance(value, Schedule) else Constant(value)


def nonzero_schedule(key: str, value: ScheduleLike) -> Schedule:
    """A schedule of weights; raises `ConfigError` if one is negative, or all are zero."""
    # Infinity is allowed, because with clip=inf gradients are measured and not clipped.
    schedule = as_schedule(key, value, "[0, inf]")
    require(schedule.maximum > 0, "would have no effect", "give a positive number, or leave it out", key, 0)
    return schedule


def at_step(value: Any, step: int) -> Any:
    """The value, in which each schedule, also in lists and tuples, is replaced by its number at a step."""
    if isinstance(value, Schedule):
        return value(step)
    if isinstance(value, list | tuple):
        return type(value)(at_step(part, step) for part in value)
    return value


def has_schedule(value: Any) -> bool:
    """Whether a value is a schedule, or a list or tuple that contains one."""
    return isinstance(value, Schedule) or (isinstance(value, list | tuple) and any(map(has_schedule, value)))
