"""Digits that answer vectors: the data and the players of a game of images whose condition is a vector."""

from __future__ import annotations

from math import pi
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganlab.core.batch import ConditionSpec
from ganlab.core.players import Networks
from ganlab.core.randomness import seeded_generator
from ganlab.data.vision import digit_sources
from ganlab.networks import dcgan
from ganlab.networks.base import Discriminator, Generator
from ganlab.networks.class_conditioning import condition_discriminator, condition_generator


def on_circle(labels: Tensor) -> Tensor:
    """The classes 0 to 9 as points on the unit circle, [N] -> [N, 2]."""
    angles = 2 * pi * labels / 10
    return torch.stack([angles.cos(), angles.sin()], 1)


class Digits(Dataset):
    """The digits of a split, [1, 8, 8] uint8, each with the point of its class and a little noise, [2]."""

    def __init__(self, split: str):
        source = digit_sources()[split]
        noise = torch.randn(len(source), 2, generator=seeded_generator("vector digits", split))
        self.images, self.vectors = source.x, on_circle(source.labels) + 0.05 * noise

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.images[i], self.vectors[i]


DATA = (
    "data=dataset",
    "data.shape=[1,8,8]",
    "data.train={_target_:support.vector_digits.Digits,split:train}",
    "data.test={_target_:support.vector_digits.Digits,split:test}",
    "+data.condition={_target_:ganlab.core.batch.ConditionSpec,kind:vector,shape:[2]}",
)


def generator(condition: ConditionSpec, **settings: Any) -> Generator:
    made = dcgan.generator(**settings)
    condition_generator(Networks({"generator": made}, condition), "norm")
    return made


def discriminator(condition: ConditionSpec, **settings: Any) -> Discriminator:
    made = dcgan.discriminator(**settings)
    condition_discriminator(Networks({"discriminator": made}, condition), "projection")
    made.condition = condition
    return made
