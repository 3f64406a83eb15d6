"""Where samples are compared: Sample -> [B, F]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from ganlab.errors import Refused
from ganlab.randomness import generator
from ganlab.turn import Sample

Space = Callable[[Sample], Tensor]


class Pixels:
    """The samples themselves, flat."""

    def __call__(self, sample: Sample) -> Tensor:
        return sample.x.flatten(1)


class RandomFeatures(nn.Module):
    """A leaky ReLU network that nobody trains; its weights hang on a seed of its own.

    Linear layers for vectors, convolutions that halve an image for images; He's weights (2015), so
    features are as large as the samples are.

    Args:
        widths: features, or channels, of each layer.
        seed: of the weights: equal seeds give equal spaces in all runs.
        shape: of a sample.
    """

    def __init__(self, widths: Sequence[int], seed: int, shape: Sequence[int]):
        super().__init__()
        if not widths or any(not isinstance(width, int) or width < 1 for width in widths):
            raise Refused(f"objective.space.widths={list(widths)} must be whole numbers of at least 1")
        if len(shape) == 3 and min(shape[1:]) < 2 ** len(widths):
            raise Refused(
                f"objective.space.widths={list(widths)} halves images {len(widths)} times, "
                f"too often for shape {list(shape)}: give fewer"
            )
        inputs = [shape[0] if len(shape) == 3 else math.prod(shape), *widths[:-1]]
        layers: list[nn.Module] = [] if len(shape) == 3 else [nn.Flatten()]
        draws = generator("random features", seed)
        for before, after in zip(inputs, widths, strict=True):
            layer = nn.Conv2d(before, after, 4, 2, 1) if len(shape) == 3 else nn.Linear(before, after)
            fan_in = layer.weight[0].numel()
            nn.init.normal_(layer.weight, 0, math.sqrt(2 / fan_in), generator=draws)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            layers += [layer, nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten()).requires_grad_(False)

    def forward(self, sample: Sample) -> Tensor:
        return self.body(sample.x)
