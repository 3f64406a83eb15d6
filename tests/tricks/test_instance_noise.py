import pytest
import torch
from support.refusals import refuses
from support.small_games import game, real_batch

from ganlab.core.batch import Sample
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.tricks.instance_noise import InstanceNoise


def noise(trick: InstanceNoise, step: int) -> torch.Tensor:
    x = torch.zeros(100, 1, 8, 8)
    turn = game().game.turn("discriminator", real_batch(), RandomStreams(0, step))
    turn.step = step
    return trick.inputs(Sample(x), turn).x


def test_the_noise_has_the_scheduled_standard_deviation() -> None:
    trick = InstanceNoise(Linear(0.4, 0.0, 10))
    for step, std in {0: 0.4, 5: 0.2, 10: 0.0, 50: 0.0}.items():
        made = noise(trick, step)
        assert made.mean().abs() < 0.02
        assert made.std() == pytest.approx(std, abs=0.01)


def test_real_and_fake_samples_have_separate_noise() -> None:
    turn = game(tricks=["instance_noise"]).game.turn("discriminator", real_batch(), RandomStreams(0))
    one, other = (turn.tricks.apply_hook("inputs", turn.real, turn) for _ in range(2))
    assert not torch.equal(one.x, other.x)


def test_a_negative_std_is_refused() -> None:
    with refuses(".std", -0.1, "of at least 0"):
        InstanceNoise(-0.1)
