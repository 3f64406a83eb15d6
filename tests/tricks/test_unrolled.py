import copy
from collections.abc import Iterator

import pytest
import torch
from support.small_games import SMALL, compatible_objective, game, next_batch, options, real_batch

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.game import Game
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
    # A leaky ReLU has no second derivative, and a ReLU has kinks, which finite differences do not handle.
    game.discriminator.body[2] = torch.nn.SiLU()
    game.generator.body[1] = torch.nn.SiLU()
    return game


def batch() -> Batch:
    real, labelled, _ = real_batch()
    assert labelled is not None
    return Batch(real._replace(x=real.x.double()), labelled._replace(x=labelled.x.double()))


def by_hand(game: Game, steps: int, latent: torch.Tensor) -> float:
    """The generator's loss against a copy of the discriminator that takes the steps."""
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
    turn = game.turn("generator", batch(), RandomStreams(0))
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


# They hold values constant that depend on the unrolled weights: averages of logits, and singular vectors.
HELD = {"lecam", "spectral_norm"}


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("trick", sorted({*options("trick")} - {"unrolled", *HELD}))
def test_with_any_trick_the_gradient_is_that_of_finite_differences(trick: str) -> None:
    """Not all second derivatives of torch are correct: those of its weight norm are not."""
    slope, _ = downhill(trick, 0)
    h = 1e-7  # few kinks of a ReLU are this close
    (_, above), (_, below) = downhill(trick, h), downhill(trick, -h)
    assert slope == pytest.approx((above - below) / (2 * h), rel=1e-5)


def downhill(trick: str, distance: float) -> tuple[float, float]:
    """The derivative of the generator's loss along a direction, and the loss at a distance along it."""
    settings = ("trick.unrolled.steps=2", f"trick.unrolled.lr={LR}")
    module = game(compatible_objective("unrolled", trick), ["unrolled", trick], "alternating", *settings)
    played = module.double().game
    torch.manual_seed(1)
    weights = [weight for weight in played.generator.parameters() if weight.requires_grad]
    direction = [torch.randn_like(weight) for weight in weights]
    with torch.no_grad():
        for weight, way in zip(weights, direction, strict=True):
            weight += distance * way
    losses = played.losses(played.turn("generator", next_batch(module), RandomStreams(0)))
    loss = torch.stack([term.mean() for term in losses.values()]).sum()
    slopes = torch.autograd.grad(loss, weights)
    along = [(slope * way).sum() for slope, way in zip(slopes, direction, strict=True)]
    return float(torch.stack(along).sum()), float(loss.detach())


@pytest.mark.parametrize("trick", sorted({*options("trick")} - {"unrolled"}))
def test_with_any_trick_the_discriminator_keeps_its_own_weights(trick: str) -> None:
    module = game(compatible_objective("unrolled", trick), ["unrolled", trick])
    played = module.game
    tensors = [
        (layer, name, tensor)
        for layer in played.discriminator.modules()
        for name, tensor in layer._parameters.items()
        if tensor is not None
    ]
    before = [tensor.detach().clone() for _, _, tensor in tensors]
    played.losses(played.turn("generator", next_batch(module), RandomStreams(0)))
    for (layer, name, tensor), value in zip(tensors, before, strict=True):
        assert layer._parameters[name] is tensor
        assert torch.equal(tensor, value)


def test_a_submodule_with_two_names_is_unrolled_under_both() -> None:
    played = game("hinge", ["semi_supervised"]).game
    discriminator = played.discriminator
    assert discriminator.score.class_head is discriminator.class_head
    own = discriminator.class_head.weight.detach().clone()
    used = []

    def compute(turn: Turn) -> dict[str, torch.Tensor]:
        assert turn.discriminator.score.class_head.weight is turn.discriminator.class_head.weight
        used.append(turn.discriminator.class_head.weight)
        return {"adversarial": turn.on_fake.logits}

    turn = played.turn("generator", real_batch(), RandomStreams(0))
    Unrolled(1, 0.1).losses(turn, compute)
    before, ahead = used
    (slope,) = torch.autograd.grad(discriminator(turn.fake.x).logits.mean(), discriminator.class_head.weight)
    assert torch.equal(before, own)
    assert torch.allclose(ahead, own - 0.1 * slope)
    assert not torch.allclose(ahead, own)
    assert torch.equal(discriminator.class_head.weight, own)


def test_the_discriminators_turn_is_unchanged() -> None:
    turn = small(3).turn("discriminator", batch(), RandomStreams(0))
    asked = []
    Unrolled(3, 0.1).losses(turn, lambda turn: asked.append(turn) or {})
    assert asked == [turn]


def test_unrolled_steps_include_every_penalty_whatever_its_name() -> None:
    from ganlab.tricks.composition import Tricks
    from ganlab.tricks.r1 import R1

    assert list(Tricks({"a": Unrolled(1, 0.1), "z": R1(1.0, 1)})) == ["z", "a"]
