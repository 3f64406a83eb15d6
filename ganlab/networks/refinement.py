"""A generator that refines the images of a smaller one (Zhang et al. 2017, StackGAN)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganlab.core.errors import require
from ganlab.core.validation import Count, ValueRange
from ganlab.networks.base import ConditionalSequential, Conditioned, Generator, output_layer
from ganlab.networks.borrowed import Borrowed


class Enlarged(Conditioned):
    """Latents [B, latent_dim] -> the images that a trained generator makes of them, enlarged.

    What tricks append to the latents, such as classes, becomes constant planes.
    """

    def __init__(self, stage: Borrowed, size: Sequence[int]):
        super().__init__()
        self.stage, self.size = stage, size

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        image = interpolate(self.stage(latent[:, : self.stage.latent_dim], condition), self.size)
        planes = latent[:, self.stage.latent_dim :, None, None].expand(-1, -1, *self.size)
        return torch.cat([image, planes.to(image.dtype)], 1)


def refiner(stage: Borrowed, width: Count, shape: Sequence[int], value_range: ValueRange) -> Generator:
    """A generator of three convolutions of kernel 3 on the enlarged images of a borrowed generator.

    They have `width` channels between them. Batch norm and ReLU follow each but the last. Latents,
    conditions and the number of channels of the images are those of the borrowed generator.
    """
    fits = len(stage.shape) == len(shape) == 3 and stage.shape[0] == shape[0]
    require(fits, f"makes {list(stage.shape)}, not images of {shape[0]} channels", key=".stage")
    layers: list[nn.Module] = [Enlarged(stage, shape[1:])]
    for inputs in (shape[0], width):
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [nn.Conv2d(width, shape[0], 3, padding=1), output_layer(value_range)]
    generator = Generator(ConditionalSequential(*layers), stage.latent_dim, tuple(shape), stage.prior)
    generator.condition = stage.condition
    return generator
