"""Digits that answer vectors: the data and the players of a game of images whose condition is a vector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganlab.core.batch import ConditionSpec
from ganlab.core.players import Networks
from ganlab.data.vision import digit_sources
from ganlab.networks import dcgan
from ganlab.networks.base import Discriminator, Generator
from ganlab.networks.class_conditioning import condition_discriminator, condition_generator


def ink_and_height(images: Tensor) -> Tensor:
    """The mean of the ink of digits from 0 to 255, and how much is above the middle, [N, 1, 8, 8] -> [N, 2].

    Among digits, both have about mean 0 and standard deviation 1.
    """
    rows = images.float().mean((1, 3)) / 255  # [N, 8]
    above = rows[:, :4].sum(1) / rows.sum(1).clamp(min=1e-3)
    return torch.stack([(rows.mean(1) - 0.305) / 0.034, (above - 0.505) / 0.09], 1)


class Digits(Dataset):
    """The digits of a split, [1, 8, 8] uint8, each with its ink and height as its vector, [2]."""

    def __init__(self, split: str):
        self.images = digit_sources()[split].x
        self.vectors = ink_and_height(self.images)

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
