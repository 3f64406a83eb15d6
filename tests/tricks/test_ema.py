import math

import pytest
import torch
from table import game, one_round, rounds

from ganlab.errors import Refused
from ganlab.schedules import HalfLife, Linear, Schedule, WarmUp, schedule
from ganlab.tricks.ema import EMA

DECAY = 0.999


def test_the_average_is_the_closed_form() -> None:
    module = game(tricks=["ema"])
    ema = module.game.tricks["ema"]
    history = []
    for _ in range(5):
        one_round(module)
        history.append([w.detach().double().clone() for w in module.game.weights("generator")])
    for i, average in enumerate(ema.averages["generator"].parameters()):
        first = DECAY**4 * history[0][i]
        later = sum((1 - DECAY) * DECAY ** (4 - t) * history[t][i] for t in range(1, 5))
        assert torch.allclose(average.double(), first + later, atol=1e-6)


def test_buffers_are_copied_and_only_the_generator_counts() -> None:
    module = game(tricks=["ema"])
    rounds(module, 2)
    average = module.game.tricks["ema"].averages["generator"]
    for mine, theirs in zip(average.buffers(), module.game.generator.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert module.game.tricks["ema"].moves == {"generator": 2}


@pytest.mark.parametrize("ramp", [WarmUp(0.9), HalfLife(20, 0.5)])
def test_a_ramp_weighs_the_rounds_as_its_decays_say(ramp: Schedule) -> None:
    module = game(tricks=["ema"])
    ema = module.game.tricks["ema"]
    ema.decay = schedule("trick.ema.decay", ramp, low=0, high=1, strict=True)
    history = []
    for _ in range(4):
        one_round(module)
        history.append([w.detach().double().clone() for w in module.game.weights("generator")])
    shares = [math.prod(ramp(s) for s in range(t + 1, 4)) * (1 - ramp(t) if t else 1) for t in range(4)]
    assert sum(shares) == pytest.approx(1)
    for i, average in enumerate(ema.averages["generator"].parameters()):
        expected = sum(share * weights[i] for share, weights in zip(shares, history, strict=True))
        assert torch.allclose(average.double(), expected, atol=1e-6)


def test_the_discriminators_average_says_the_classes() -> None:
    module = game(
        "non_saturating", ["ema", "semi_supervised"], "alternating", "trick.ema.players=[discriminator]"
    )
    rounds(module, 2)
    ema = module.game.tricks["ema"]
    assert ema.moves == {"discriminator": 2}
    assert module.game.classifier is ema.averages["discriminator"]
    assert module.game.sampler is module.game.generator
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(module.game.classify(x), ema.averages["discriminator"].eval()(x).classes)


def test_the_average_is_sampled() -> None:
    module = game(tricks=["ema"])
    assert module.game.sampler is module.game.tricks["ema"].averages["generator"]


@pytest.mark.parametrize("decay", [2, 1, -0.1, Linear(0.9, 1.5, 10)])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(Refused, match="trick.ema.decay=.* must lie strictly between 0 and 1"):
        EMA(decay, ["generator"])
