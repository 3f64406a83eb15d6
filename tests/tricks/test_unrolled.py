import copy

import pytest
import torch
from table import SMALL, real

from ganlab.cli import compose
from ganlab.config import build_game
from ganlab.errors import Refused
from ganlab.game import Game
from ganlab.randomness import Draw
from ganlab.tricks.unrolled import Unrolled

LR = 0.3


def small(steps: int, *overrides: str) -> Game:
    cfg = compose(
        *SMALL,
        "trick=[unrolled,r1]",
        f"trick.unrolled.steps={steps}",
        f"trick.unrolled.lr={LR}",
        "model.generator.batch_norm=false",
        *overrides,
    )
    game = build_game(cfg).double()
    # Finite differences see no second derivative in a leaky ReLU, and stumble over the kink of a ReLU.
    game.discriminator.body[2] = torch.nn.SiLU()
    game.generator.body[1] = torch.nn.SiLU()
    return game


def batch():
    sample = real().real
    return real()._replace(real=sample._replace(x=sample.x.double()))


def by_hand(game: Game, steps: int, latent: torch.Tensor) -> float:
    """The generator's loss against a discriminator that really takes the steps, one at a time."""
    ahead = copy.deepcopy(game.discriminator)
    for _ in range(steps):
        x = batch().real.x.requires_grad_()
        on_real = ahead(x).logits
        (slope,) = torch.autograd.grad(on_real.sum(), x, create_graph=True)
        fake = game.generator(latent).detach()
        loss = (
            torch.nn.functional.softplus(-on_real).mean()
            + torch.nn.functional.softplus(ahead(fake).logits).mean()
            + 0.5 * slope.flatten(1).square().sum(1).mean()
        )
        slopes = torch.autograd.grad(loss, list(ahead.parameters()))
        with torch.no_grad():
            for weight, change in zip(ahead.parameters(), slopes, strict=True):
                weight -= LR * change
    return float(torch.nn.functional.softplus(-ahead(game.generator(latent)).logits).mean().detach())


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_gradient_is_that_of_finite_differences(steps: int) -> None:
    torch.manual_seed(steps)
    game = small(steps)
    before = copy.deepcopy(game.discriminator.state_dict())
    turn = game.turn("generator", batch(), Draw(0))
    latent = torch.randn(16, 6, dtype=torch.float64)
    turn = turn.replace(latent=latent)
    loss = game.losses(turn)["adversarial"]
    assert float(loss.detach()) == pytest.approx(by_hand(game, steps, latent), rel=1e-6)
    weight = next(game.generator.parameters())
    (slope,) = torch.autograd.grad(loss, weight)
    direction = torch.randn_like(weight)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * 1e-4 * direction
        values.append(by_hand(game, steps, latent))
        with torch.no_grad():
            weight -= sign * 1e-4 * direction
    assert float((slope * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-5)
    for name, value in game.discriminator.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_discriminators_turn_is_as_ever() -> None:
    turn = small(3).turn("discriminator", batch(), Draw(0))
    asked = []
    Unrolled(3, 0.1).losses(turn, lambda turn: asked.append(turn) or {})
    assert asked == [turn]


@pytest.mark.parametrize("steps", [0, 11, 2.0, True])
def test_steps_out_of_range_are_refused(steps: int) -> None:
    with pytest.raises(Refused, match=f"trick.unrolled.steps={steps} must be a whole number from 1 to 10"):
        Unrolled(steps, 0.1)


def test_the_steps_ahead_feel_every_penalty_whatever_its_name() -> None:
    from ganlab.tricks.base import Tricks
    from ganlab.tricks.r1 import R1

    assert list(Tricks({"a": Unrolled(1, 0.1), "z": R1(1.0, 1)})) == ["z", "a"]
