"""Players that translate images: a U-Net and a discriminator of patches (Isola et al. 2017), or of pixels."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import gcd, prod
from typing import Literal

import torch
from torch import Tensor, nn

from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import require
from ganlab.core.validation import Count, NonEmpty, Rate, ValueRange, Whole
from ganlab.networks import base
from ganlab.networks.dcgan import initialise
from ganlab.networks.keyed_dropout import KeyedDropout, LatentKeys
from ganlab.networks.priors import Prior

SLOPE = 0.2  # of leaky ReLU
# The kernel, the stride and the padding of a convolution
Geometry = tuple[int | tuple[int, int], int | tuple[int, int], int]
HALVING: Geometry = (4, 2, 1)  # halves the sides
# The sides of the squares that a PatchGAN judges, by the number of its halvings, and the smallest images.
RECEPTIVE_FIELDS, MIN_SIDES = (1, 16, 34, 70, 142, 286), (1, 6, 12, 24, 48, 96)


class UNet(base.Branching, base.Conditioned):
    """A latent [B, latent_dim] and an image [B, C, H, W] -> an image, through skip connections at each size.

    Args:
        down: the layers that halve the sides, from the image to the smallest maps.
        up: the layers that double them again. Each but the first gets the maps of its size as well.
        latent_dim: the number of elements of the latent that enter as constant planes at the smallest maps.
    """

    def __init__(self, down: Sequence[nn.Module], up: Sequence[nn.Module], latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)

    def branches(self) -> Sequence[nn.Module]:
        return [self.down[0]]

    def divisors(self) -> tuple[int, int]:
        """The numbers of which the height and the width of an image must be multiples."""
        strides = [m.stride for m in self.down.modules() if isinstance(m, nn.Conv2d)]
        return prod(int(rows) for rows, _ in strides), prod(int(columns) for _, columns in strides)

    def forward(self, latent: Tensor, image: Tensor) -> Tensor:
        maps = [image]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        smallest = maps.pop()
        planes = latent[:, : self.latent_dim, None, None].expand(-1, -1, *smallest.shape[2:])
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
    divides = all(side % 2**halvings == 0 for side in shape[1:])
    require(divides, f"does not divide the sides {list(shape[1:])}", "lower it", ".halvings", halvings)
    channels = [min(width * 2**i, 8 * width) for i in range(halvings)]
    geometry = [HALVING] * halvings
    body = _unet_body(channels, geometry, latent_dim, condition, shape, value_range, bias=True)
    return _translator(body, latent_dim, condition, shape, prior)


def pix2pix_unet(
    latent_dim: Whole,
    width: Count,
    dropout: Rate,
    *,
    condition: ConditionSpec,
    shape: Sequence[int],
    value_range: ValueRange,
    prior: Prior,
) -> base.Generator:
    """The U-Net of the paper's code, which halves the sides as often as possible: 256 x 256 to one pixel.

    If up to 7 x 7 pixels remain, as of 28 x 28, a last layer combines them to one.

    Dropout in the first three layers that double the sides makes the samples of one image differ, in training
    and afterwards. Its masks are functions of the latent, which then has no other effect.

    Args:
        width: as that of `unet`; 64 in the paper.
        dropout: the share of dropped activations; 0: the latent enters as in `unet`, if it has any elements.
    """
    halvings = (gcd(*shape[1:]) & -gcd(*shape[1:])).bit_length() - 1  # the largest power of 2 in both sides
    reason = f"has sides that cannot be halved {'twice' if halvings else 'at all'}"
    remedy = "choose multiples of 4, better of 32"
    require(halvings >= 2, reason, remedy, "data.shape", list(shape))
    rest = shape[1] >> halvings, shape[2] >> halvings
    geometry: list[Geometry] = [HALVING] * halvings + ([(rest, rest, 0)] if 1 < max(rest) <= 7 else [])
    channels = [min(width * 2**i, 8 * width) for i in range(len(geometry))]
    reason = "needs latents, of which its masks are functions"
    require(latent_dim or not dropout, reason, "set latent_dim, or set it to 0", ".dropout", dropout)
    told_dim = 0 if dropout else latent_dim
    body = _unet_body(channels, geometry, told_dim, condition, shape, value_range, bias=False)
    generator = _translator(body, latent_dim, condition, shape, prior)
    if dropout:
        generator.latent_transforms.append(keys := LatentKeys())
        for i, layers in enumerate(body.up[:-1][:3]):
            layers.add_module("dropout", KeyedDropout(keys, f"up{i}", dropout, at_test=True))
    return generator


def _unet_body(
    channels: Sequence[int],
    geometry: Sequence[Geometry],
    latent_dim: int,
    condition: ConditionSpec,
    shape: Sequence[int],
    value_range: ValueRange,
    bias: bool,
) -> UNet:
    """The layers of a U-Net.

    Args:
        channels: the number of channels at half of the image's size, at a quarter, and so on.
        geometry: the kernel, the stride and the padding of the layers between the sizes.
        bias: whether the convolutions to smaller maps have biases.
    """
    require(condition.kind == "image", "needs an image", "choose data with image conditions", ".condition")
    sizes_agree = condition.shape[1:] == tuple(shape[1:])
    require(sizes_agree, f"must have the size {list(shape[1:])} of the samples", key=".condition.shape")
    down: list[nn.Module] = [nn.Conv2d(condition.shape[0], channels[0], *geometry[0], bias=bias)]
    for i, (inputs, outputs) in enumerate(pairwise(channels), start=2):
        norm = [nn.BatchNorm2d(outputs)] if i < len(channels) else []  # the smallest maps may have one pixel
        convolution = nn.Conv2d(inputs, outputs, *geometry[i - 1], bias=bias)
        down.append(nn.Sequential(nn.LeakyReLU(SLOPE), convolution, *norm))
    up: list[nn.Module] = []
    inputs = channels[-1] + latent_dim
    for outputs, shape_of_layer in zip(reversed(channels[:-1]), reversed(geometry[1:]), strict=True):
        enlarge = nn.ConvTranspose2d(inputs, outputs, *shape_of_layer, bias=False)
        up.append(nn.Sequential(nn.ReLU(), enlarge, nn.BatchNorm2d(outputs)))
        inputs = 2 * outputs  # with the maps that skip
    last = nn.ConvTranspose2d(inputs, shape[0], *geometry[0])
    up.append(nn.Sequential(nn.ReLU(), last, base.output_layer(value_range)))
    return UNet(down, up, latent_dim).apply(initialise)


def _translator(
    body: UNet, latent_dim: int, condition: ConditionSpec, shape: Sequence[int], prior: Prior
) -> base.Generator:
    """A generator that is told the image to be translated."""
    generator = base.Generator(base.ConditionalSequential(body), latent_dim, tuple(shape), prior)
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
        layers[0] = nn.Conv2d(shape[0] + _told_channels(condition), channels[1], 4, 2, 1)
    return _judge(layers, channels[-1], condition).apply(initialise)


def patch_gan(
    width: Count,
    receptive_field: Literal[1, 16, 34, 70, 142, 286],
    *,
    condition: ConditionSpec | None,
    shape: Sequence[int],
) -> base.Discriminator:
    """The PatchGAN of the paper's code: logits [B, h, w], each of a square of `receptive_field` pixels.

    Convolutions of kernel 4 with leaky ReLU halve the sides, and then one keeps them almost, as does the
    score. Batch norm follows each but the first. With a receptive field of one pixel, all have kernel 1.

    Args:
        width: as that of `patch`; 64 in the paper.
        condition: the image that is judged together with the sample; None: the sample alone is judged.
    """
    halvings = RECEPTIVE_FIELDS.index(receptive_field)
    fits = [f for f, side in zip(RECEPTIVE_FIELDS, MIN_SIDES, strict=True) if min(shape[1:]) >= side]
    reason, remedy = f"is too large for {list(shape)}", f"choose one of {', '.join(map(str, fits))}"
    require(len(shape) == 3 and receptive_field in fits, reason, remedy, ".receptive_field", receptive_field)
    outputs = (min(width * 2**i, 8 * width) for i in range(max(halvings, 1) + 1))
    channels = [shape[0] + (0 if condition is None else _told_channels(condition)), *outputs]
    layers: list[nn.Module] = []
    for i, (num_inputs, num_outputs) in enumerate(pairwise(channels)):
        kernel, stride, padding = (4, 2 if i < halvings else 1, 1) if halvings else (1, 1, 0)
        norm = [nn.BatchNorm2d(num_outputs)] if i else []
        conv = nn.Conv2d(num_inputs, num_outputs, kernel, stride, padding, bias=not norm)
        layers += [conv, *norm, nn.LeakyReLU(SLOPE)]
    head = {"kernel_size": 4, "padding": 1} if halvings else {"kernel_size": 1}
    return _judge(layers, channels[-1], condition, **head).apply(initialise)


def _told_channels(condition: ConditionSpec) -> int:
    """The number of channels of the image that a discriminator is told."""
    require(condition.kind == "image", "must be an image or null", "set null", ".condition")
    return condition.shape[0]


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
    layers: Sequence[nn.Module],
    num_features: int,
    condition: ConditionSpec | None,
    kernel_size: int = 1,
    padding: int = 0,
) -> base.Discriminator:
    """A discriminator whose layers end in feature maps, of which the score is a convolution."""
    make_head = partial(nn.Conv2d, kernel_size=kernel_size, padding=padding)
    discriminator = base.Discriminator(base.ConditionalSequential(*layers), num_features, make_head)
    discriminator.judges_patches = True
    if condition is not None:
        discriminator.condition = condition
        discriminator.input_transforms.append(base.AppendCondition())
    return discriminator
