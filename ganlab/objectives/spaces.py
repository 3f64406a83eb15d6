"""Where samples are compared: Sample -> [B, F]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import derive_seed
from ganlab.core.turn import Sample
from ganlab.core.validation import Widths

Space = Callable[[Sample], Tensor]


class Pixels:
    """The samples themselves, flat."""

    def __call__(self, sample: Sample) -> Tensor:
        return sample.x.flatten(1)


class RandomFeatures(nn.Module):
    """A leaky ReLU network that nobody trains; its weights depend on a seed of its own.

    Linear layers for vectors, convolutions that halve an image for images; He's weights (2015), so
    features are as large as the samples are.

    Args:
        widths: features, or channels, of each layer.
        seed: of the weights: equal seeds give equal spaces in all runs.
        shape: of a sample.
    """

    def __init__(self, widths: Annotated[Widths, 1], seed: int, shape: Sequence[int]):
        super().__init__()
        if len(shape) == 3 and min(shape[1:]) < 2 ** len(widths):
            raise ConfigError(
                f"objective.space.widths={list(widths)} halves images {len(widths)} times, "
                f"too often for shape {list(shape)}: give fewer"
            )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed("random features", seed))
            self.body = nn.Sequential(*_layers(widths, shape)).requires_grad_(False)

    def forward(self, sample: Sample) -> Tensor:
        return self.body(sample.x)


def _layers(widths: Sequence[int], shape: Sequence[int]) -> list[nn.Module]:
    image = len(shape) == 3
    layers: list[nn.Module] = [] if image else [nn.Flatten()]
    for before, after in pairwise([shape[0] if image else math.prod(shape), *widths]):
        layer = nn.Conv2d(before, after, 4, 2, 1) if image else nn.Linear(before, after)
        nn.init.normal_(layer.weight, 0, math.sqrt(2 / layer.weight[0].numel()))
        layers += [layer, nn.LeakyReLU(0.2)]
    return [*layers, nn.Flatten()]
