import math

import pytest
from support.refusals import refuses

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import (
    Constant,
    Cosine,
    Exponential,
    HalfLife,
    Linear,
    Piecewise,
    WarmUp,
    as_schedule,
    at_step,
    has_schedule,
)


def test_values_at_the_ends_and_between() -> None:
    linear = Linear(1.0, 3.0, 10, after=5)
    assert [linear(step) for step in (0, 5, 10, 15, 99)] == [1, 1, 2, 3, 3]
    cosine = Cosine(2.0, 0.0, 4)
    assert [cosine(step) for step in range(5)] == pytest.approx(
        [1 + math.cos(math.pi * k / 4) for k in range(5)]
    )
    falling = Exponential(1.0, 0.01, 2)
    assert [falling(step) for step in range(3)] == pytest.approx([1, 0.1, 0.01])
    assert Constant(0.5)(123) == 0.5
    stairs = Piecewise([2, 0.2, 0.1], [10, 30])
    assert [stairs(step) for step in (0, 9, 10, 29, 30, 999)] == [2, 2, 0.2, 0.2, 0.1, 0.1]


def test_a_young_average_forgets_fast() -> None:
    warm = WarmUp(0.999)
    assert [warm(step) for step in (0, 8, 90)] == pytest.approx([0.1, 0.5, 0.91])
    assert warm(8990) == pytest.approx(8991 / 9000)
    assert warm(9000) == warm(10**6) == 0.999
    half = HalfLife(100, 0.05)
    assert half(200) ** 10 == pytest.approx(0.5)  # 5 % of 200 steps
    assert half(2000) ** 100 == half(10**6) ** 100 == pytest.approx(0.5)
    assert 0 < half.start == half(0) < half.end


def test_schedules_are_found_in_lists() -> None:
    betas = [0.5, Linear(0.9, 0.99, 10)]
    assert has_schedule(betas)
    assert not has_schedule([0.5, 0.9])
    assert at_step(betas, 0) == [0.5, 0.9]
    assert at_step(betas, 10) == [0.5, 0.99]


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="^trick.x=1.5: must be a number between 0 and 1$"):
        as_schedule("trick.x", Linear(0, 1.5, 10), "[0, 1]")
    with refuses("x", 2, "between 0 and 1"):
        as_schedule("x", Piecewise([2, 0.2], [10]), "[0, 1]")
    with refuses("x", 0, "strictly between 0 and 1"):
        as_schedule("x", 0.0, "(0, 1)")
    with refuses("x", True, "a number"):
        as_schedule("x", True, "[0, inf]")


@pytest.mark.parametrize(
    ("values", "milestones", "key", "reason"),
    [
        ([2], [10], ".values", "one element more"),
        ([2, 1, 0], [10, 5], ".milestones", "increasing"),
        ([2, 1, 0], [10, 10], ".milestones", "increasing"),
        ([2, 1], [0], ".milestones", "increasing"),
        ([1, 2, 1], [5, 10], ".values", "must be monotone"),
    ],
)
def test_a_piecewise_schedule_in_disorder_is_refused(
    values: list[float], milestones: list[int], key: str, reason: str
) -> None:
    with refuses(key, reason=reason):
        Piecewise(values, milestones)
