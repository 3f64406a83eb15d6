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

from ganlab.core.schedules import Cosine
from ganlab.core.turn import Networks, Player
from ganlab.game import Game
from ganlab.networks.base import ConditionalSequential, Generator
from ganlab.networks.mlp import discriminator
from ganlab.networks.priors import Normal
from ganlab.objectives.adversarial import AbsoluteError, Minimax
from ganlab.objectives.base import Objective
from ganlab.training.module import GameModule, Stage
from ganlab.training.play import Alternating
from ganlab.tricks.base import Trick

ROUNDS = 500
MODES = [(-1.5, 0.5), (1.5, 0.5)]  # of the data: mean and standard deviation of two equally likely Gaussians
FAKE = (0.0, 1.0)  # of the generator's density


def p(x):
    return sum(norm.pdf(x, mean, std) for mean, std in MODES) / 2


def q(x):
    return norm.pdf(x, *FAKE)


def samples(step: int, n: int) -> Tensor:
    """Samples of the data, [n, 1]."""
    numbers = torch.Generator().manual_seed(step)
    mean, std = torch.tensor(MODES)[torch.randint(2, (n,), generator=numbers)].T  # [n] each
    return (mean + std * torch.randn(n, generator=numbers))[:, None]


class Spread(nn.Linear):
    """Maps N(0, 1) to the generator's distribution."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        mean, std = FAKE
        nn.init.constant_(self.weight, std)
        nn.init.constant_(self.bias, mean)


class Rest(Trick):
    """The generator never moves."""

    def may_move(self, player: Player, step: int) -> bool:
        return player == "discriminator"


def trained(objective: Objective) -> GameModule:
    torch.manual_seed(0)
    critic = discriminator([64, 64], maxout=None, slope=0.2, dropout=0.0, input_dropout=0.0, shape=[1])
    generator = Generator(ConditionalSequential(Spread()), latent_dim=1, shape=(1,), prior=Normal())
    adam = partial(Adam, lr=Cosine(0.01, 0.0, ROUNDS))
    game = Game(Networks(generator, critic, None), objective, {"rest": Rest()})
    players = ("discriminator", "generator")
    stage = Stage(game, Alternating(), dict.fromkeys(players, adam), dict.fromkeys(players), seed=0)
    module = GameModule([stage])
    for step in range(ROUNDS):
        module.play_step((samples(step, 1024), None))
    return module


def probability(module: GameModule, x: Tensor) -> Tensor:
    return module.game.discriminator(x).logits.sigmoid().detach()


def value_at_the_optimum() -> float:
    """-log 4 + 2 JSD, each integral by adaptive quadrature."""

    def surplus(x: float) -> float:
        middle = (p(x) + q(x)) / 2
        return p(x) * math.log(p(x) / middle) + q(x) * math.log(q(x) / middle)

    jsd = quad(surplus, -8, 8, points=[-1.5, 0, 1.5], limit=200)[0] / 2
    return -math.log(4) + 2 * jsd


@pytest.fixture(scope="module")
def classifier() -> GameModule:
    return trained(Minimax(ONES))


def test_the_discriminator_learns_p_over_p_plus_q(classifier: GameModule) -> None:
    x = samples(ROUNDS, 20_000)
    best = torch.from_numpy(p(x[:, 0].numpy()) / (p(x[:, 0].numpy()) + q(x[:, 0].numpy())))
    assert float((probability(classifier, x) - best).abs().mean()) < 0.02


def test_the_discriminator_learns_the_indicator_under_the_absolute_error() -> None:
    x = samples(ROUNDS, 20_000)
    denser = torch.from_numpy(p(x[:, 0].numpy()) > q(x[:, 0].numpy()))
    found = probability(trained(AbsoluteError(ONES)), x)
    assert float((found - denser.float()).abs().mean()) < 0.03


def value(logits: Tensor, x: Tensor) -> float:
    """E log D + E log(1 - D), integrated from the objective's losses on a grid."""
    sure = torch.full_like(logits, 800)
    on_real = player_cost(Minimax(ONES), "discriminator", logits, -sure)
    on_fake = player_cost(Minimax(ONES), "discriminator", sure, logits)
    return -float(torch.trapezoid(torch.from_numpy(p(x.numpy())) * on_real, x)) - float(
        torch.trapezoid(torch.from_numpy(q(x.numpy())) * on_fake, x)
    )


def test_the_value_at_the_optimum(classifier: GameModule) -> None:
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    best = torch.from_numpy(np.log(p(x.numpy())) - np.log(q(x.numpy())))
    assert value(best, x) == pytest.approx(value_at_the_optimum(), abs=1e-6)
    learned = classifier.game.discriminator(x[:, None].float()).logits.detach().double()
    assert value_at_the_optimum() - 0.005 < value(learned, x) < value_at_the_optimum()
