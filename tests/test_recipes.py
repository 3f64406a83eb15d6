"""The recipes of the published rows against their update rules, written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support.modules import build
from torch import Tensor
from torch.nn import BatchNorm2d, Linear
from torch.nn.functional import binary_cross_entropy as cross_entropy
from torch.nn.functional import softplus

from ganlab.config.build import instantiate
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample
from ganlab.core.players import Player
from ganlab.core.randomness import reseed
from ganlab.data.base import Data
from ganlab.data.sources import TensorSource
from ganlab.training.module import GameModule
from ganlab.training.play import Simultaneous

GENERATOR = ("data.batch_size=20", "model.generator.latent_dim=5", "model.generator.hidden=[9,8]")
# Makes the discriminator's logits differ between samples, so that both players have sizeable gradients.
WEIGHTS = "initial.discriminator=[{_target_: ganlab.networks.initial.FanIn, scale: 2}]"
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
    clip: float = math.inf,
) -> list[float]:
    """Plays steps and compares them with v = m v - lr g, w = w + v, all gradients at the same weights.

    Returns:
        The norms of the gradients before they were clipped.
    """
    players = module.game.players
    weights = {p: [w.detach().clone().requires_grad_() for w in module.game.weights(p)] for p in players}
    speed = {p: [torch.zeros_like(w) for w in weights[p]] for p in players}
    norms = []
    for step in steps:
        module.game.run_step = step
        x = batch(step)
        latent = module.phase.turn("generator", Batch(Sample(x))).latent
        moves = {p: torch.autograd.grad(loss(p, weights, x.flatten(1), latent), weights[p]) for p in players}
        for p in players:
            norms.append(float(torch.stack([g.norm() for g in moves[p]]).norm()))
            scale = min(1, clip / norms[-1])
            for w, v, g in zip(weights[p], speed[p], moves[p], strict=True):
                v.mul_(momentum(step)).sub_(rate(step) * scale * g)
                w.data.add_(v)
        module.train()
        module.play_step(Batch(Sample(x)))
        for p in players:
            for mine, w in zip(module.game.weights(p), weights[p], strict=True):
                assert torch.allclose(mine, w, rtol=1e-4, atol=1e-6), (step, p)
    return norms


def test_goodfellow_2014_equals_its_update_rule() -> None:
    module = build(
        compose(
            "experiment=goodfellow2014_mnist",
            *GENERATOR,
            *WITHOUT_CHANCE,
            "model.discriminator.hidden=[7,6]",
            WEIGHTS,
        )
    )

    def loss(player: Player, weights: dict[Player, list[Tensor]], x: Tensor, latent: Tensor) -> Tensor:
        on_fake = judge(weights["discriminator"], generate(weights["generator"], latent))
        if player == "generator":
            return cross_entropy(on_fake, torch.ones(20))
        on_real = judge(weights["discriminator"], x)
        return 0.5 * (cross_entropy(on_real, torch.ones(20)) + cross_entropy(on_fake, torch.zeros(20)))

    # In the released code the momentum is constant within an epoch; here it follows the step.
    replay(module, loss, lambda k: 0.1 / 1.000004**k, lambda k: 0.5 + 0.2 * min(k / 500 / 249, 1), [0, 1, 2])
    latent = module.phase.turn("generator", Batch(Sample(batch(0)))).latent
    assert float(latent.abs().max()) <= 3**0.5
    assert float(latent.var()) == pytest.approx(1, abs=0.3)


def test_both_players_of_goodfellow_2014_share_one_dropout_mask() -> None:
    module = build(compose("experiment=goodfellow2014_mnist", *GENERATOR, WEIGHTS))
    seen: list[tuple[Tensor, Tensor]] = []
    module.game.discriminator.register_forward_hook(
        lambda _, inputs, verdict: seen.append((inputs[0].detach(), verdict.logits.detach()))
    )
    x = batch(0)
    module.train()
    module.play_step(Batch(Sample(x)))
    logits = {"real" if given.equal(x) else "fake": verdict for given, verdict in seen}
    assert len(seen) == len(logits) == 2  # one verdict on each
    cost = softplus(-logits["real"]).mean() + softplus(logits["fake"]).mean()
    assert float(module.scalars["discriminator/adversarial"]) == pytest.approx(float(cost) / 2, rel=1e-6)
    assert float(module.scalars["generator/adversarial"]) == pytest.approx(
        float(softplus(-logits["fake"]).mean()), rel=1e-6
    )
    again = {tuple(module.game.discriminator(x, None).logits.tolist()) for _ in range(2)}
    assert len(again) == 2  # there are masks


def test_the_initial_weights_of_goodfellow_2014() -> None:
    image = torch.randint(256, (1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image[0, 0, :2] = torch.tensor([0, 255])  # where the logit of the mean would be infinite
    train = TensorSource(image.repeat(100, 1, 1, 1), torch.arange(100) % 10, flip=False)
    data, mean = Data((1, 28, 28), 10, (0, 1), 100, {"train": train}), image / 255
    game = build(compose("experiment=goodfellow2014_mnist"), data).game
    for player, bound in (("generator", 0.05), ("discriminator", 0.005)):
        *hidden, last = [layer for layer in getattr(game, player).modules() if isinstance(layer, Linear)]
        for layer in (*hidden, last):
            assert 0.98 * bound < float(layer.weight.detach().abs().max()) <= bound
            assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.1)
        assert not any(layer.bias.any() for layer in hidden)
        made = last.bias.detach().sigmoid()
        expected = mean.flatten() if player == "generator" else torch.tensor([0.5])
        assert torch.allclose(made, expected, atol=1e-6)
        assert last.bias.isfinite().all()


def test_the_schedules_of_goodfellow_2014_reach_their_ends() -> None:
    module = build(compose("experiment=goodfellow2014_mnist"))
    for player in module.phase.player_optimizers.values():
        lr, momentum = player.schedules["lr"], player.schedules["momentum"]
        for step in (0, 1, 500, 62_250, 124_500, 125_000):
            assert lr(step) == pytest.approx(0.1 / 1.000004**step, rel=1e-6)
        assert lr(10**7) == 1e-6
        assert [momentum(500 * (epoch - 1)) for epoch in (1, 126, 250, 999)] == pytest.approx(
            [0.5, 0.5 + 0.2 * 125 / 249, 0.7, 0.7]
        )


def test_gmmn_equals_its_update_rule() -> None:
    module = build(compose("experiment=gmmn_mnist", *GENERATOR))

    def loss(_: Player, weights: dict[Player, list[Tensor]], x: Tensor, latent: Tensor) -> Tensor:
        made = generate(weights["generator"], latent)
        both = torch.cat([made, x])
        signs = torch.cat([torch.full((20,), 1 / 20), torch.full((20,), -1 / 20)])
        gaps = (both[:, None] - both[None]).square().sum(2)  # [40, 40]
        return sum(signs @ torch.exp(-gaps / (2 * s)) @ signs for s in (2, 5, 10, 20, 40, 80)).sqrt()

    replay(module, loss, lambda k: 2.0, lambda k: 0.9, [0, 1, 2])


AUTOENCODER = (
    "experiment=gmmn_autoencoder_mnist",
    "stages.autoencoder.pretrained=[]",
    "stages.autoencoder.model.generator.latent_dim=5",
    "stages.autoencoder.model.generator.hidden=[60]",
    "stages.autoencoder.model.encoder.hidden=[60]",
    "model.generator.shape=[5]",
)


def test_the_autoencoder_of_gmmn_equals_its_update_rule() -> None:
    module = GameModule(build(compose(*AUTOENCODER)).phases[-2:-1])
    module.phase.first_step = 6000  # two stages of 3,000 steps come before it

    def loss(_: Player, weights: dict[Player, list[Tensor]], x: Tensor, __: Tensor) -> Tensor:
        reseed(module.phase.seed, 0, module.game.run_step)  # as each step does, for equal masks
        (up, a, out, b), (into, c, down, d) = weights["generator"][:4], weights["generator"][4:]
        hidden = ((x * (torch.rand_like(x) >= 0.2)) @ into.T + c).sigmoid()
        code = ((hidden * (torch.rand_like(hidden) >= 0.5)) @ down.T + d).sigmoid()
        made = ((code @ up.T + a).sigmoid() @ out.T + b).sigmoid()
        return cross_entropy(made, x, reduction="sum") / 20

    def momentum(step: int) -> float:
        return 0 if step < 6050 else 0.5 if step < 6200 else 0.9

    norms = replay(module, loss, lambda k: 0.1, momentum, [6000, 6001], clip=10)
    # torch accumulates no velocity while the momentum is zero, so the first step at 0.5 starts from none.
    norms += replay(module, loss, lambda k: 0.1, momentum, [6050, 6051, 6200, 6201], clip=10)
    assert max(norms) > 10


def test_the_schedules_of_gmmn_drop_once() -> None:
    optimizer = build(compose("experiment=gmmn_mnist", *GENERATOR)).phase.player_optimizers["generator"]
    for step, expected in {0: (2, 0.9), 9_999: (2, 0.9), 10_000: (0.2, 0.99), 39_999: (0.2, 0.99)}.items():
        assert (optimizer.schedules["lr"](step), optimizer.schedules["momentum"](step)) == expected


def test_the_validation_splits_are_those_of_the_papers() -> None:
    for experiment, expected in {
        "goodfellow2014_mnist": (10_000, "last"),
        "gmmn_mnist": (5_000, "random"),
    }.items():
        data = compose(f"experiment={experiment}").data
        assert (data.validation, data.validation_choice) == expected
        assert OmegaConf.to_container(data.range) == [0, 1]


# The numbers of the papers and of their released code: Li et al. 2015; Li et al. 2017; Binkowski et al. 2018.
NUMBERS: dict[str, dict[str, Any]] = {
    "gmmn_autoencoder_mnist": {
        "data": {"range": [0, 1], "batch_size": 1000, "validation": 5000, "validation_choice": "random"},
        "model.generator": {"latent_dim": 10, "hidden": [64, 256, 256, 1024], "batch_norm": False},
        "model.generator.prior": {"_target_": "ganlab.networks.priors.Uniform", "bound": 1},
        "model.generator.shape": [32],
        "objective": {"estimator": "biased", "root": True, "median": False},
        "objective.kernel": {"widths": [1], "width_is": "variance"},
        "optimizer.generator._target_": "torch.optim.SGD",
        "optimizer.generator.lr": {"values": [2, 0.2], "milestones": [10_000]},
        "optimizer.generator.momentum": {"values": [0.9, 0.99], "milestones": [10_000]},
        "default_steps": 40_000,
        "code_of": "autoencoder",
        **{
            f"stages.{name}": {
                "steps": 3000,
                "batch_size": 100,
                "clip": {"generator": 10},
                "model.generator": {"activation": "sigmoid", "latent_dim": code, "hidden": hidden},
                "model.encoder": {"activation": "sigmoid", "dropout": dropout, "hidden": hidden},
                "model.encoder.code_range": [0, 1],
                "model.generator.value_range": [0, 1],
                "objective.likelihood._target_": "ganlab.functional.likelihoods.Bernoulli",
                "optimizer.generator": {"_target_": "torch.optim.SGD", "lr": 0.1},
                "optimizer.generator.momentum": momentum,
            }
            for name, code, hidden, dropout, momentum in (
                ("outer", 1024, [], [0.2], 0.5),
                ("inner", 32, [], [0.5], 0.5),
                ("autoencoder", 32, [1024], [0.2, 0.5], {"values": [0, 0.5, 0.9], "milestones": [50, 200]}),
            )
        },
    },
    "li2017_mnist": {
        "data.batch_size": 64,
        "model.generator.latent_dim": 10,
        "model.generator.prior._target_": "ganlab.networks.priors.Normal",
        "model.discriminator.features": 10,
        "objective": {"estimator": "biased", "root": True, "one_sided": 16, "gradient_penalty": None},
        "objective.kernel": {"widths": [1, 2, 4, 8, 16], "width_is": "std"},
        "trick.weight_clip.bound": 0.01,
        "trick.feature_autoencoder.weight": 8,
        "trick.critic_steps": {"n": 5, "burst": {"n": 100, "first": 25, "every": 500}},
        "optimizer.generator": {"_target_": "torch.optim.RMSprop", "lr": 5e-5, "alpha": 0.99},
        "optimizer.discriminator": {"_target_": "torch.optim.RMSprop", "lr": 5e-5, "alpha": 0.99},
    },
    "binkowski2018_mnist": {
        "data.batch_size": 64,
        "model.generator": {"latent_dim": 100, "prior": {"bound": 1}, "width": 64, "kernel": 5},
        "model.discriminator": {"width": 16, "features": 16, "kernel": 5},
        "objective": {"estimator": "unbiased", "root": False, "gradient_penalty": 1, "one_sided": None},
        "objective.kernel.alphas": [0.2, 0.5, 1, 2, 5],
        "trick.critic_steps": {"n": 5, "burst": None},
        "clip": {"discriminator": 1, "generator": 1},
        "optimizer.generator": {"_target_": "torch.optim.Adam", "lr": 1e-4, "betas": [0.5, 0.9]},
        "optimizer.discriminator": {"_target_": "torch.optim.Adam", "lr": 1e-4, "betas": [0.5, 0.9]},
    },
}


def numbers(table: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Each number or list of a table, under its whole path."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{path}{name}.")
        else:
            yield path + name, value


@pytest.mark.parametrize("experiment", NUMBERS)
def test_the_hyper_parameters_are_those_of_the_papers(experiment: str) -> None:
    cfg = OmegaConf.to_container(compose(f"experiment={experiment}"), resolve=True)
    for path, expected in numbers(NUMBERS[experiment]):
        assert reduce(getitem, path.split("."), cfg) == expected, path


KERNELS = {  # k(x, y) at |x - y|^2 = 9
    "gmmn_mnist": sum(math.exp(-9 / (2 * v)) for v in (2, 5, 10, 20, 40, 80)),
    "gmmn_autoencoder_mnist": math.exp(-9 / 2),
    "li2017_mnist": sum(math.exp(-9 / (2 * s**2)) for s in (1, 2, 4, 8, 16)),
    "binkowski2018_mnist": sum((1 + 9 / (2 * a)) ** -a for a in (0.2, 0.5, 1, 2, 5)),
}


@pytest.mark.parametrize("experiment", KERNELS)
def test_the_kernels_are_those_of_the_papers(experiment: str) -> None:
    kernel = instantiate(compose(f"experiment={experiment}").objective.kernel)
    found = kernel(torch.zeros(1, 2), torch.tensor([[0.0, 3.0]]))
    assert float(found) == pytest.approx(KERNELS[experiment], rel=1e-5)


def test_both_players_of_pacgan_move_at_the_same_weights() -> None:
    """By one set of fakes, as the released code has it."""
    module = build(compose("experiment=pacgan_modes", "trick=packing", "logger=csv"))
    assert type(module.phase.play) is Simultaneous


def test_the_critic_of_li_2017_moves_in_bursts() -> None:
    game = build(compose("experiment=li2017_mnist")).game
    waits = [100] * 25 + [5] * 475 + [100, 5, 5]
    moves = [step for step in range(sum(waits)) if game.tricks.may_move("generator", step)]
    assert moves == [sum(waits[: i + 1]) - 1 for i in range(len(waits))]


def test_the_discriminators_of_mmd_gans() -> None:
    for experiment, norms, features in (("li2017_mnist", 1, 10), ("binkowski2018_mnist", 0, 16)):
        discriminator = build(compose(f"experiment={experiment}")).game.discriminator
        assert sum(isinstance(part, BatchNorm2d) for part in discriminator.modules()) == norms
        assert discriminator(torch.zeros(2, 1, 28, 28), None).features.shape == (2, features)
