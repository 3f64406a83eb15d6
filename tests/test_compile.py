"""`compile=true`: the same game, compiled once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch._dynamo
from support.daily_sample import on_one_day_of
from support.modules import build
from support.refusals import refuses
from support.small_games import game, options, play_steps, resolved_config


@pytest.fixture
def empty_compile_cache() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.config.error_on_recompile = False
    torch._dynamo.reset()


@on_one_day_of(2)
@pytest.mark.usefixtures("empty_compile_cache")
@pytest.mark.parametrize("play", options("play"))
def test_a_compiled_game_is_the_same_game_and_is_compiled_once(play: str) -> None:
    tricks = ["ema", "instance_noise", "label_conditioning"]
    schedule = "{_target_: ganlab.core.schedules.Linear, start: 1e-3, end: 0, steps: 9}"
    compiled = game("hinge", tricks, play, "compile=true", f"optimizer.generator.lr={schedule}")
    plain = game("hinge", tricks, play, f"optimizer.generator.lr={schedule}")
    first_step = play_steps(compiled, 1)
    torch._dynamo.config.error_on_recompile = True
    expected = play_steps(plain, 6)
    term = "discriminator/adversarial"  # computed before Adam's first updates, which magnify rounding errors
    assert first_step[0][term] == pytest.approx(expected[0][term], rel=1e-5)
    for terms, plain_terms in zip([*first_step, *play_steps(compiled, 5)], expected, strict=True):
        assert terms == pytest.approx(plain_terms, rel=1e-2, abs=1e-2)
    assert compiled.game.generator._compiled_call_impl is not None
    samples = compiled.game.sample(5)  # evaluation with another batch size is not compiled
    assert torch.allclose(samples, plain.game.sample(5), atol=1e-2)


@pytest.mark.parametrize("trick", ["r1", "unrolled"])
def test_second_derivatives_are_refused(trick: str) -> None:
    with refuses("trick", trick, "second derivatives", "compile=false"):
        game("non_saturating", [trick], "alternating", "compile=true")


def test_an_objective_with_second_derivatives_is_refused() -> None:
    with refuses("objective", "LearnedMMD", "second derivatives", "compile=true"):
        game("learned_mmd", [], "alternating", "compile=true")


def test_a_game_is_not_compiled_by_default() -> None:
    assert build(resolved_config("logger=csv").copy()).game.generator._compiled_call_impl is None
