"""A trained discriminator, compared with the theoretically optimal one."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from support.logit_costs import ONES, player_cost
from torch import Tensor, nn
from torch.optim import Adam

from ganlab.core.batch import Batch, Sample
from ganlab.core.players import Networks, Player
from ganlab.core.schedules import Cosine
from ganlab.game import Game
from ganlab.networks import mlp, priors
from ganlab.networks.base import ConditionalSequential, Generator
from ganlab.objectives.adversarial import AbsoluteError, Minimax
from ganlab.objectives.base import Objective
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Alternating
from ganlab.tricks.base import Trick

NUM_STEPS = 500
MODES = [(-1.5, 0.5), (1.5, 0.5)]  # mean and standard deviation of each Gaussian of the data; equally likely
FAKE = (0.0, 1.0)  # mean and standard deviation of the generator's Gaussian


def p(x):
    """The density of the data."""
    return sum(norm.pdf(x, mean, std) for mean, std in MODES) / 2


def q(x):
    """The density of the generator's samples."""
    return norm.pdf(x, *FAKE)


def real_samples(step: int, n: int) -> Tensor:
    """Samples of the data, [n, 1]."""
    numbers = torch.Generator().manual_seed(step)
    mean, std = torch.tensor(MODES)[torch.randint(2, (n,), generator=numbers)].T  # [n] each
    return (mean + std * torch.randn(n, generator=numbers))[:, None]


class ScaleAndShift(nn.Linear):
    """Maps N(0, 1) to the generator's distribution."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        mean, std = FAKE
        nn.init.constant_(self.weight, std)
        nn.init.constant_(self.bias, mean)


class FrozenGenerator(Trick):
    """The generator never moves."""

    def may_move(self, player: Player, step: int) -> bool:
        return player == "discriminator"


def train_discriminator(objective: Objective) -> GameModule:
    """Trains a discriminator against a fixed generator."""
    torch.manual_seed(0)
    discriminator = mlp.discriminator(
        [64, 64], maxout=None, slope=0.2, dropout=0.0, input_dropout=0.0, shape=[1]
    )
    generator = Generator(
        ConditionalSequential(ScaleAndShift()), latent_dim=1, shape=(1,), prior=priors.Normal()
    )
    adam = partial(Adam, lr=Cosine(0.01, 0.0, NUM_STEPS))
    game = Game(
        Networks({"generator": generator, "discriminator": discriminator}),
        objective,
        {"frozen": FrozenGenerator()},
    )
    players = ("discriminator", "generator")
    phase = Phase(game, Alternating(), dict.fromkeys(players, adam), dict.fromkeys(players), seed=0)
    module = GameModule([phase])
    for step in range(NUM_STEPS):
        module.play_step(Batch(Sample(real_samples(step, 1024))))
    return module


def probability(module: GameModule, x: Tensor) -> Tensor:
    return module.game.discriminator(x).logits.sigmoid().detach()


def value_at_the_optimum() -> float:
    """-log 4 + 2 JSD(p, q) (Goodfellow et al. 2014, theorem 1), by adaptive quadrature."""

    def integrand(x: float) -> float:
        mean = (p(x) + q(x)) / 2
        return p(x) * math.log(p(x) / mean) + q(x) * math.log(q(x) / mean)

    jsd = quad(integrand, -8, 8, points=[-1.5, 0, 1.5], limit=200)[0] / 2
    return -math.log(4) + 2 * jsd


@pytest.fixture(scope="module")
def classifier() -> GameModule:
    return train_discriminator(Minimax(ONES))


def test_the_discriminator_learns_p_over_p_plus_q(classifier: GameModule) -> None:
    x = real_samples(NUM_STEPS, 20_000)
    density_p, density_q = p(x[:, 0].numpy()), q(x[:, 0].numpy())
    optimum = torch.from_numpy(density_p / (density_p + density_q))
    assert float((probability(classifier, x) - optimum).abs().mean()) < 0.02


def test_the_discriminator_learns_the_indicator_under_the_absolute_error() -> None:
    x = real_samples(NUM_STEPS, 20_000)
    p_is_larger = torch.from_numpy(p(x[:, 0].numpy()) > q(x[:, 0].numpy()))
    learned = probability(train_discriminator(AbsoluteError(ONES)), x)
    assert float((learned - p_is_larger.float()).abs().mean()) < 0.03


def value(logits: Tensor, x: Tensor) -> float:
    """E log D(x) over p plus E log(1 - D(x)) over q, integrated on a grid x from the objective's losses."""
    certain = torch.full_like(logits, 800)  # with this logit, the loss on the other samples is 0
    loss_on_real = player_cost(Minimax(ONES), "discriminator", real=logits, fake=-certain)
    loss_on_fake = player_cost(Minimax(ONES), "discriminator", real=certain, fake=logits)
    real_integral = torch.trapezoid(torch.from_numpy(p(x.numpy())) * loss_on_real, x)
    fake_integral = torch.trapezoid(torch.from_numpy(q(x.numpy())) * loss_on_fake, x)
    return -float(real_integral) - float(fake_integral)


def test_the_value_at_the_optimum(classifier: GameModule) -> None:
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    optimal_logits = torch.from_numpy(np.log(p(x.numpy())) - np.log(q(x.numpy())))
    assert value(optimal_logits, x) == pytest.approx(value_at_the_optimum(), abs=1e-6)
    learned = classifier.game.discriminator(x[:, None].float()).logits.detach().double()
    assert value_at_the_optimum() - 0.005 < value(learned, x) < value_at_the_optimum()
