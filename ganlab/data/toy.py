"""Toy distributions of which everything is known: mixtures of Gaussians around given centres."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

from ganlab.data.base import Data
from ganlab.data.facts import agree, at_least, not_negative
from ganlab.data.sources import Memory
from ganlab.randomness import generator


def circle(modes: int, radius: float) -> Tensor:
    """Centres at equal angles, the first on the first axis; [modes, 2]."""
    angles = torch.arange(modes, dtype=torch.float64) * (2 * pi / modes)
    return (radius * torch.stack([angles.cos(), angles.sin()], dim=1)).float()


def mixture(centres: Tensor, std: float, size: int, data_seed: int) -> dict[str, Memory]:
    """Both splits, `size` samples each, of equally likely Gaussians; the class of a sample is its mode."""
    sources = {}
    for split in ("train", "test"):
        numbers = generator(data_seed, split)
        modes = torch.randint(len(centres), (size,), generator=numbers)
        noise = torch.randn(size, centres.shape[1], generator=numbers)
        sources[split] = Memory(centres[modes] + std * noise, modes, flip=False)
    return sources


class Ring(Data):
    """Gaussians of deviation `std` at equal distances on a circle (after Metz et al., 2017).

    `centres` [modes, 2] and `std` are what a metric of covered modes compares with.
    """

    def __init__(
        self,
        modes: int,
        radius: float,
        std: float,
        size: int,
        data_seed: int,
        shape: Sequence[int],
        num_classes: int,
        range: None,
        batch_size: int,
    ):
        at_least(1, modes=modes, size=size)
        at_least(0, data_seed=data_seed)
        not_negative(std=std, radius=radius)
        agree("shape", shape, (2,))
        agree("num_classes", num_classes, modes)
        agree("range", range, None)
        self.centres = circle(modes, radius)
        self.std = std
        super().__init__(shape, num_classes, None, batch_size, mixture(self.centres, std, size, data_seed))
