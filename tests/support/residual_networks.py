"""Small players of residual blocks with convolutional shortcuts, for images of 8x8."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ganlab.networks.base import ConditionalSequential, Discriminator, Generator, output_layer
from ganlab.networks.priors import Prior
from ganlab.networks.residual import ResidualBlock

WIDTH = 4


def generator(latent_dim: int, shape: Sequence[int], value_range: Sequence[float], prior: Prior) -> Generator:
    block = ResidualBlock(
        [nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Upsample(scale_factor=2), convolution(WIDTH, WIDTH)],
        [nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 1)],
    )
    body = ConditionalSequential(
        *(nn.Linear(latent_dim, WIDTH * 16), nn.Unflatten(1, (WIDTH, 4, 4)), block),
        *(nn.BatchNorm2d(WIDTH), nn.ReLU(), convolution(WIDTH, shape[0]), output_layer(value_range)),
    )
    return Generator(body, latent_dim, tuple(shape), prior)


def discriminator(shape: Sequence[int]) -> Discriminator:
    """The first block receives the image, in both of its branches."""
    first = ResidualBlock(
        [convolution(shape[0], WIDTH), nn.ReLU(), convolution(WIDTH, WIDTH), nn.AvgPool2d(2)],
        [nn.AvgPool2d(2), nn.Conv2d(shape[0], WIDTH, 1)],
    )
    second = ResidualBlock([nn.ReLU(), convolution(WIDTH, WIDTH)])
    return Discriminator(ConditionalSequential(first, second, nn.ReLU(), nn.Flatten()), WIDTH * 16)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
