"""compile=true: the same game, compiled once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch._dynamo
from support.refusals import refuses
from support.small_games import game, options, play_steps, resolved_config

from ganlab.training.build import build


@pytest.fixture
def compiled_anew() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.config.error_on_recompile = False
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.parametrize("play", options("play"))
def test_it_plays_the_same_game_and_is_compiled_once(play: str) -> None:
    tricks = ["ema", "instance_noise", "label_conditioning"]
    schedule = "{_target_: ganlab.core.schedules.Linear, start: 1e-3, end: 0, steps: 9}"
    compiled = game("hinge", tricks, play, "compile=true", f"optimizer.generator.lr={schedule}")
    plain = game("hinge", tricks, play, f"optimizer.generator.lr={schedule}")
    begun = play_steps(compiled, 1)
    torch._dynamo.config.error_on_recompile = True
    expected = play_steps(plain, 6)
    first = "discriminator/adversarial"  # before any step: Adam's first ones blow rounding up
    assert begun[0][first] == pytest.approx(expected[0][first], rel=1e-5)
    for ours, theirs in zip([*begun, *play_steps(compiled, 5)], expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-2, abs=1e-2)
    assert compiled.game.generator._compiled_call_impl is not None
    samples = compiled.game.sample(5)  # another shape, and evaluation: not compiled
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
