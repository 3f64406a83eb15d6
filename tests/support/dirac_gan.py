"""The Dirac-GAN (Mescheder, Geiger & Nowozin 2018, section 2): a game with two scalar weights.

All data are 0, every sample of the generator is theta, and the discriminator's logit is psi * x.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import hypot

import torch
from torch import Tensor, nn
from torch.optim import SGD

from ganlab.core.batch import Batch, Sample
from ganlab.core.players import Networks
from ganlab.game import Game
from ganlab.networks import priors
from ganlab.networks.base import ConditionalSequential, Discriminator, Generator
from ganlab.objectives.base import Objective
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play
from ganlab.tricks.base import Trick

START = (1.0, 1.0)  # theta, psi
LR = 0.1


class Point(nn.Module):
    """A generator body that returns theta for every latent."""

    def __init__(self, theta: float):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, latent: Tensor) -> Tensor:
        return self.theta.expand(len(latent), 1)


def dirac_module(objective: Objective, play: Play, tricks: Mapping[str, Trick]) -> GameModule:
    theta, psi = START
    generator = Generator(
        ConditionalSequential(Point(theta)), latent_dim=1, shape=(1,), prior=priors.Normal()
    )
    discriminator = Discriminator(ConditionalSequential(nn.Identity()), num_features=1)
    discriminator.score = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(discriminator.score.weight, psi)
    players = ("discriminator", "generator")
    game = Game(Networks({"generator": generator, "discriminator": discriminator}), objective, tricks)
    optimizers = dict.fromkeys(players, partial(SGD, lr=LR))
    return GameModule([Phase(game, play, optimizers, dict.fromkeys(players), seed=0)])


def trajectory(
    objective: Objective, play: Play, steps: int, tricks: Mapping[str, Trick] | None = None
) -> list[tuple[float, float]]:
    """(theta, psi) before the first and after every step."""
    module = dirac_module(objective, play, tricks or {})
    weights = [*module.game.weights("generator"), *module.game.weights("discriminator")]
    points = [START]
    for _ in range(steps):
        module.play_step(Batch(Sample(torch.zeros(1, 1, dtype=torch.float64))))
        theta, psi = (weight.item() for weight in weights)
        points.append((theta, psi))
    return points


def radii(points: list[tuple[float, float]]) -> list[float]:
    """The distances from the equilibrium (0, 0)."""
    return [hypot(*point) for point in points]
