"""Players that translate images: a U-Net and a discriminator of patches (Isola et al. 2017), or of pixels."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import require
from ganlab.core.validation import Count, NonEmpty, ValueRange, Whole
from ganlab.networks import base
from ganlab.networks.dcgan import initialise
from ganlab.networks.priors import Prior

SLOPE = 0.2  # of leaky ReLU


class UNet(base.Branching, base.Conditioned):
    """A latent [B, latent_dim] and an image [B, C, H, W] -> an image, through skip connections at each size.

    Args:
        down: the layers that halve the sides, from the image to the smallest maps.
        up: the layers that double them again. Each but the first gets the maps of its size as well.
    """

    def __init__(self, down: Sequence[nn.Module], up: Sequence[nn.Module]):
        super().__init__()
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)

    def branches(self) -> Sequence[nn.Module]:
        return [self.down[0]]

    def forward(self, latent: Tensor, image: Tensor) -> Tensor:
        maps = [image]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        smallest = maps.pop()
        planes = latent[:, :, None, None].expand(-1, -1, *smallest.shape[2:])
        x = torch.cat([smallest, planes.to(smallest.dtype)], 1)
        for layer, skipped in zip(self.up[:-1], reversed(maps[1:]), strict=True):
            x = torch.cat([layer(x), skipped], 1)
        return self.up[-1](x)


def unet(
    latent_dim: Whole,
    width: Count,
    halvings: Count,
    *,
    condition: ConditionSpec,
    shape: Sequence[int],
    value_range: ValueRange,
    prior: Prior,
) -> base.Generator:
    """A generator that translates images: convolutions to small maps and back, with skip connections.

    Convolutions have kernels of 4 and a stride of 2. Batch norm follows each but the first and the last. The
    latent enters as constant planes at the smallest maps. The paper has no latent, but dropout, which is the
    trick generator_dropout.

    Args:
        width: the number of channels at half of the image's size, which doubles at each further halving up
            to 8 `width`.
        halvings: how often the sides, which must allow it, are halved.
        condition: the image that is translated, of the samples' size.
    """
    require(condition.kind == "image", "needs an image", "choose data with image conditions", ".condition")
    sizes_agree = condition.shape[1:] == tuple(shape[1:])
    require(sizes_agree, f"must have the size {list(shape[1:])} of the samples", key=".condition.shape")
    divides = all(side % 2**halvings == 0 for side in shape[1:])
    require(divides, f"does not divide the sides {list(shape[1:])}", "lower it", ".halvings", halvings)
    channels = [min(width * 2**i, 8 * width) for i in range(halvings)]
    down: list[nn.Module] = [nn.Conv2d(condition.shape[0], width, 4, 2, 1)]
    for i, (inputs, outputs) in enumerate(pairwise(channels), start=2):
        norm = [nn.BatchNorm2d(outputs)] if i < halvings else []  # the smallest maps may have one pixel
        down.append(nn.Sequential(nn.LeakyReLU(SLOPE), nn.Conv2d(inputs, outputs, 4, 2, 1), *norm))
    up: list[nn.Module] = []
    inputs = channels[-1] + latent_dim
    for outputs in reversed(channels[:-1]):
        layers = nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs)
        up.append(nn.Sequential(*layers))
        inputs = 2 * outputs  # with the maps that skip
    last = nn.ConvTranspose2d(inputs, shape[0], 4, 2, 1)
    up.append(nn.Sequential(nn.ReLU(), last, base.output_layer(value_range)))
    body = base.ConditionalSequential(UNet(down, up).apply(initialise))
    generator = base.Generator(body, latent_dim, tuple(shape), prior)
    generator.condition = condition
    return generator


def patch(
    width: Count, halvings: Count, *, condition: ConditionSpec | None, shape: Sequence[int]
) -> base.Discriminator:
    """A discriminator with a verdict for each patch: logits [B, h, w].

    Convolutions of kernel 4 and stride 2 with leaky ReLU, then one of kernel 3 and stride 1. Batch norm
    follows each but the first.

    Args:
        width: the number of channels after the first convolution, doubled after each further one up to 8
            `width`.
        halvings: the number of convolutions of stride 2, each of which halves the sides.
        condition: the image that is judged together with the sample; None: the sample alone is judged.
    """
    fits = len(shape) == 3 and min(shape[1:]) >= 2**halvings
    require(fits, f"is too often for samples of shape {list(shape)}", "lower it", ".halvings", halvings)
    channels = [shape[0], *(min(width * 2**i, 8 * width) for i in range(halvings + 1))]
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(channels)):
        kernel, stride = (4, 2) if i < halvings else (3, 1)
        norm = [nn.BatchNorm2d(outputs)] if i else []
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, 1), *norm, nn.LeakyReLU(SLOPE)]
    if condition is not None:
        require(condition.kind == "image", "must be an image or null", "set null", ".condition")
        layers[0] = nn.Conv2d(shape[0] + condition.shape[0], channels[1], 4, 2, 1)
    return _judge(layers, channels[-1], condition).apply(initialise)


def pixelwise(
    hidden: NonEmpty[Count], width: Count, *, hint: Whole, shape: Sequence[int]
) -> base.Discriminator:
    """A fully connected discriminator of all pixels together with a verdict on each: logits [B, H, W].

    Args:
        hidden: the widths of the hidden layers, with leaky ReLU.
        width: the number of features of each pixel.
        hint: the number of channels of the images that are judged together with the samples.
    """
    channels, *size = shape
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise([(channels + hint) * prod(size), *hidden, width * prod(size)]):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(SLOPE)]
    layers.append(nn.Unflatten(1, (width, *size)))
    return _judge(layers, width, ConditionSpec("image", (hint, *size)))


def _judge(
    layers: Sequence[nn.Module], num_features: int, condition: ConditionSpec | None
) -> base.Discriminator:
    """A discriminator whose layers end in feature maps, of which the score is a convolution of kernel 1."""
    make_head = partial(nn.Conv2d, kernel_size=1)
    discriminator = base.Discriminator(base.ConditionalSequential(*layers), num_features, make_head)
    discriminator.judges_patches = True
    if condition is not None:
        discriminator.condition = condition
        discriminator.input_transforms.append(base.AppendCondition())
    return discriminator
