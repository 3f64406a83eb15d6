import pytest
import torch
from torch import Tensor, nn

from ganlab.errors import Refused
from ganlab.randomness import Draw
from ganlab.schedules import Linear
from ganlab.tricks.base import Tricks
from ganlab.tricks.r1 import R1
from ganlab.turn import Batch, Sample, Turn, Verdict


class Quadratic(nn.Module):
    """x [B, 1, 2, 3] -> sum of a x^2, whose gradient is 2 a x."""

    def __init__(self, a: Tensor):
        super().__init__()
        self.a = a

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        return Verdict((self.a * x.square()).flatten(1).sum(1), x.flatten(1))


def turn(x: Tensor, a: Tensor, player: str = "discriminator", step: int = 0) -> Turn:
    return Turn(player, step, Batch(Sample(x)), None, Quadratic(a), Tricks({}), Draw(0), True)


def test_the_penalty_of_a_quadratic_is_the_closed_form() -> None:
    x, a = torch.randn(4, 1, 2, 3), torch.rand(1, 2, 3)
    terms = R1(3.0).losses(turn(x, a), lambda turn: {"adversarial": turn.on_real.logits})
    assert torch.allclose(terms["r1"], 1.5 * (2 * a * x).flatten(1).square().sum(1))
    assert list(terms) == ["adversarial", "r1"]


def test_gamma_may_be_a_schedule_and_the_generator_is_spared() -> None:
    x, a = torch.randn(2, 1, 2, 3), torch.rand(1, 2, 3)
    trick = R1(Linear(2, 0, 10))
    first, half = (trick.losses(turn(x, a, step=step), lambda _: {})["r1"] for step in (0, 5))
    assert torch.allclose(first, 2 * half)
    assert trick.losses(turn(x, a, "generator"), lambda _: {}) == {}


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(Refused, match="trick.r1.gamma=-1 must lie between 0"):
        R1(-1)
