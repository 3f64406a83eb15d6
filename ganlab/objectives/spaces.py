"""Spaces in which an objective compares samples: functions Sample -> vectors [B, D]."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganlab.core.batch import Sample
from ganlab.core.errors import require
from ganlab.core.randomness import derive_seed
from ganlab.core.validation import Count, NonEmpty

Space = Callable[[Sample], Tensor]


class Pixels:
    """The elements of the samples, flattened."""

    def __call__(self, sample: Sample) -> Tensor:
        return sample.x.flatten(1)


class RandomFeatures(nn.Module):
    """The outputs of a leaky ReLU network with fixed random weights.

    For vectors the layers are linear; for images they are convolutions that halve the height and the width.
    With the initialisation of He et al. (2015) the features have the scale of the samples.

    Args:
        widths: the number of features, or of channels, of each layer; too many to halve images are refused.
        seed: the seed of the weights; equal seeds give equal spaces in all runs.
    """

    def __init__(self, widths: NonEmpty[Count], seed: int, shape: Sequence[int]):
        super().__init__()
        is_image = len(shape) == 3
        reason = f"halves images {len(widths)} times, too often for shape {list(shape)}"
        fits = not is_image or min(shape[1:]) >= 2 ** len(widths)
        require(fits, reason, "give fewer widths", ".widths", list(widths))
        make_layer = partial(nn.Conv2d, kernel_size=4, stride=2, padding=1) if is_image else nn.Linear
        layers: list[nn.Module] = [] if is_image else [nn.Flatten()]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed("random features", seed))
            for inputs, outputs in pairwise([shape[0] if is_image else math.prod(shape), *widths]):
                layer = make_layer(inputs, outputs)
                nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()))  # 2 / fan-in
                layers += [layer, nn.LeakyReLU(negative_slope=0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten()).requires_grad_(False)

    def forward(self, sample: Sample) -> Tensor:
        return self.body(sample.x)
