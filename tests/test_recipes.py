"""The recipes of the published rows against their update rules, written out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.functional import binary_cross_entropy as cross_entropy

from ganlab.cli import compose
from ganlab.config import build
from ganlab.training.base import GameModule
from ganlab.turn import Batch, Player, Sample

GENERATOR = ("data.batch_size=20", "model.generator.latent_dim=5", "model.generator.hidden=[9,8]")
WITHOUT_CHANCE = ("model.discriminator.dropout=0", "model.discriminator.input_dropout=0")


def batch(step: int) -> Tensor:
    return torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(step))


def generate(weights: list[Tensor], latent: Tensor) -> Tensor:
    """ReLU layers and a sigmoid, [B, 784]."""
    *hidden, (last, bias) = zip(weights[::2], weights[1::2], strict=True)
    for weight, shift in hidden:
        latent = (latent @ weight.T + shift).relu()
    return (latent @ last.T + bias).sigmoid()


def judge(weights: list[Tensor], x: Tensor) -> Tensor:
    """Two maxout layers of five pieces and a sigmoid, [B]."""
    *hidden, (last, bias) = zip(weights[::2], weights[1::2], strict=True)
    for weight, shift in hidden:
        x = (x @ weight.T + shift).view(len(x), -1, 5).max(2).values
    return (x @ last.T + bias).sigmoid()[:, 0]


def replay(
    module: GameModule,
    loss: Callable[[Player, dict[Player, list[Tensor]], Tensor, Tensor], Tensor],
    rate: Callable[[int], float],
    momentum: Callable[[int], float],
    steps: list[int],
) -> None:
    """Plays rounds, and by hand beside them: v = m v - lr g, w = w + v, all gradients at the same weights."""
    players = module.game.players
    weights = {p: [w.detach().clone().requires_grad_() for w in module.game.weights(p)] for p in players}
    speed = {p: [torch.zeros_like(w) for w in weights[p]] for p in players}
    for step in steps:
        module.game.step = step
        x = batch(step)
        latent = module.turn("generator", Batch(Sample(x))).latent
        moves = {p: torch.autograd.grad(loss(p, weights, x.flatten(1), latent), weights[p]) for p in players}
        for p in players:
            for w, v, g in zip(weights[p], speed[p], moves[p], strict=True):
                v.mul_(momentum(step)).sub_(rate(step) * g)
                w.data.add_(v)
        module.train()
        module.round((x, None))
        for p in players:
            for mine, w in zip(module.game.weights(p), weights[p], strict=True):
                assert torch.allclose(mine, w, rtol=1e-4, atol=1e-6), (step, p)


def test_goodfellow_2014_to_the_letter() -> None:
    module = build(
        compose(
            "experiment=goodfellow2014_mnist",
            *GENERATOR,
            *WITHOUT_CHANCE,
            "model.discriminator.hidden=[7,6]",
            # Weights at which both players have gradients worth comparing.
            "initial.discriminator=[{_target_: ganlab.networks.initial.FanIn, scale: 2}]",
        )
    )

    def loss(player: Player, weights: dict[Player, list[Tensor]], x: Tensor, latent: Tensor) -> Tensor:
        on_fake = judge(weights["discriminator"], generate(weights["generator"], latent))
        if player == "generator":
            return cross_entropy(on_fake, torch.ones(20))
        on_real = judge(weights["discriminator"], x)
        return 0.5 * (cross_entropy(on_real, torch.ones(20)) + cross_entropy(on_fake, torch.zeros(20)))

    # Within an epoch the momentum stands still in the released code; here it follows the round.
    replay(module, loss, lambda k: 0.1 / 1.000004**k, lambda k: 0.5 + 0.2 * min(k / 500 / 249, 1), [0, 1, 2])
    latent = module.turn("generator", Batch(Sample(batch(0)))).latent
    assert float(latent.abs().max()) <= 3**0.5
    assert float(latent.var()) == pytest.approx(1, abs=0.3)


def test_the_schedules_of_2014_reach_their_ends() -> None:
    module = build(compose("experiment=goodfellow2014_mnist"))
    for mover in module.mover.values():
        lr, momentum = mover.schedules["lr"], mover.schedules["momentum"]
        for step in (0, 1, 500, 62_250, 124_500, 125_000):
            assert lr(step) == pytest.approx(0.1 / 1.000004**step, rel=1e-6)
        assert lr(10**7) == 1e-6
        assert [momentum(500 * (epoch - 1)) for epoch in (1, 126, 250, 999)] == pytest.approx(
            [0.5, 0.5 + 0.2 * 125 / 249, 0.7, 0.7]
        )


def test_gmmn_to_the_letter() -> None:
    module = build(compose("experiment=gmmn_mnist", *GENERATOR))

    def loss(_: Player, weights: dict[Player, list[Tensor]], x: Tensor, latent: Tensor) -> Tensor:
        made = generate(weights["generator"], latent)
        both = torch.cat([made, x])
        signs = torch.cat([torch.full((20,), 1 / 20), torch.full((20,), -1 / 20)])
        gaps = (both[:, None] - both[None]).square().sum(2)  # [40, 40]
        return sum(signs @ torch.exp(-gaps / (2 * s)) @ signs for s in (2, 5, 10, 20, 40, 80)).sqrt()

    replay(module, loss, lambda k: 2.0, lambda k: 0.9, [0, 1, 2])


def test_the_schedules_of_gmmn_drop_once() -> None:
    mover = build(compose("experiment=gmmn_mnist", *GENERATOR)).mover["generator"]
    for step, expected in {0: (2, 0.9), 9_999: (2, 0.9), 10_000: (0.2, 0.99), 39_999: (0.2, 0.99)}.items():
        assert (mover.schedules["lr"](step), mover.schedules["momentum"](step)) == expected


def test_the_validation_splits_are_those_of_the_papers() -> None:
    for experiment, expected in {
        "goodfellow2014_mnist": (10_000, "last"),
        "gmmn_mnist": (5_000, "random"),
    }.items():
        data = compose(f"experiment={experiment}").data
        assert (data.validation, data.validation_choice) == expected
        assert OmegaConf.to_container(data.range) == [0, 1]
