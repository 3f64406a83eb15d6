"""Points that answer vectors: the data and the players of a game whose condition is a vector."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import nn

from ganlab.core.batch import ConditionSpec
from ganlab.core.randomness import seeded_generator
from ganlab.data.base import Data, DataSettings
from ganlab.data.sources import TensorSource
from ganlab.networks.base import AppendCondition, ConditionalSequential, Discriminator, Generator
from ganlab.networks.priors import Prior

WIDTH = 16


class Pairs(Data):
    """Points near the vectors that they answer, [N, 2] each."""

    def __init__(self, **settings: Unpack[DataSettings]):
        sources = {}
        for split in ("train", "test"):
            noise, vectors = torch.randn(2, 256, 2, generator=seeded_generator("pairs", split))
            sources[split] = TensorSource(vectors + 0.1 * noise, None, flip=False)
            sources[split].vectors = vectors
        super().__init__(**settings, sources=sources)


def generator(latent_dim: int, condition: ConditionSpec, prior: Prior) -> Generator:
    widths = latent_dim + condition.shape[0], WIDTH
    layers = nn.Linear(*widths), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2)
    made = Generator(ConditionalSequential(*layers), latent_dim, (2,), prior)
    made.latent_transforms.append(AppendCondition())
    made.condition = condition
    return made


def discriminator(condition: ConditionSpec) -> Discriminator:
    layers = nn.Linear(2 + condition.shape[0], WIDTH), nn.LeakyReLU(0.2)
    made = Discriminator(ConditionalSequential(*layers), WIDTH)
    made.input_transforms.append(AppendCondition())
    made.condition = condition
    return made
