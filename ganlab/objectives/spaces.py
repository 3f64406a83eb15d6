"""Spaces in which an objective compares samples: Sample -> [B, F]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from ganlab.core.errors import require
from ganlab.core.randomness import derive_seed
from ganlab.core.turn import Sample
from ganlab.core.validation import Widths

Space = Callable[[Sample], Tensor]


class Pixels:
    """The elements of the samples, flattened."""

    def __call__(self, sample: Sample) -> Tensor:
        return sample.x.flatten(1)


class RandomFeatures(nn.Module):
    """The outputs of a leaky ReLU network with fixed random weights.

    It has linear layers for vectors, and for images convolutions that halve them. With He initialisation
    (2015) the features have the scale of the samples.

    Args:
        widths: features, or channels, of each layer.
        seed: of the weights; equal seeds give equal spaces in all runs.
        shape: of a sample.

    Raises:
        ConfigError: images are too small to be halved by each layer.
    """

    def __init__(self, widths: Annotated[Widths, 1], seed: int, shape: Sequence[int]):
        super().__init__()
        image = len(shape) == 3
        reason = f"halves images {len(widths)} times, too often for shape {list(shape)}"
        fits = not image or min(shape[1:]) >= 2 ** len(widths)
        require(fits, ".widths", list(widths), reason, "give fewer widths")
        layers: list[nn.Module] = [] if image else [nn.Flatten()]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed("random features", seed))
            for before, after in pairwise([shape[0] if image else math.prod(shape), *widths]):
                layer = nn.Conv2d(before, after, 4, 2, 1) if image else nn.Linear(before, after)
                nn.init.normal_(layer.weight, 0, math.sqrt(2 / layer.weight[0].numel()))
                layers += [layer, nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten()).requires_grad_(False)

    def forward(self, sample: Sample) -> Tensor:
        return self.body(sample.x)
