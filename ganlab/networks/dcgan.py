"""The deep convolutional players of Radford, Metz & Chintala (2016), for even sizes that halve well."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import nn

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count
from ganlab.networks.base import ConditionalSequential, Discriminator, Generator, output_layer, relu
from ganlab.networks.priors import Prior

Kernel = Annotated[int, 3]


def generator(
    latent_dim: Count,
    width: Count,
    kernel: Kernel,
    slope: float,
    shape: Sequence[int],
    value_range: tuple[float, float] | None,
    prior: Prior,
) -> Generator:
    """A projection to the smallest plane, then transposed convolutions with batch norm and (leaky) ReLU.

    `width` is the number of channels at half of the final size; it doubles with each halving.
    """
    channels, height, width_px = _image(shape)
    depth = halvings(height, width_px)
    widths = [width * 2**i for i in reversed(range(depth))]
    base = (widths[0], height >> depth, width_px >> depth)
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, base[0] * base[1] * base[2], bias=False),
        nn.Unflatten(1, base),
        nn.BatchNorm2d(base[0]),
        relu(slope),
    ]
    for before, after in pairwise(widths):
        layers += [_up(before, after, kernel, bias=False), nn.BatchNorm2d(after), relu(slope)]
    layers += [_up(widths[-1], channels, kernel, bias=True), output_layer(value_range)]
    body = ConditionalSequential(*layers)
    initialise(body)
    return Generator(body, latent_dim, tuple(shape), prior)


def discriminator(
    width: Count, kernel: Kernel, slope: float, shape: Sequence[int], features: Count | None = None
) -> Discriminator:
    """Strided convolutions with batch norm (but for the first) and leaky ReLU, then one linear score.

    features: how many linear ones are made of the last plane, as learned kernels compare samples by
        (Li et al. 2017; Binkowski et al. 2018); None: that plane's own numbers are the features.
    """
    channels, height, width_px = _image(shape)
    depth = halvings(height, width_px)
    widths = [channels, *(width * 2**i for i in range(depth))]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        norm = [nn.BatchNorm2d(after)] if i else []
        layers += [_down(before, after, kernel, bias=not norm), *norm, nn.LeakyReLU(slope)]
    layers.append(nn.Flatten())
    num_features = widths[-1] * (height >> depth) * (width_px >> depth)
    if features is not None:
        layers.append(nn.Linear(num_features, features))
        num_features = features
    made = Discriminator(ConditionalSequential(*layers), num_features)
    initialise(made)
    return made


def halvings(height: int, width: int) -> int:
    """How often an image is halved: down to a side of 4 to 7, and twice where a small one allows it."""
    n = 0
    while height % 2 == width % 2 == 0 and (min(height, width) >= 8 or (n < 2 and min(height, width) >= 4)):
        height, width, n = height // 2, width // 2, n + 1
    return n


def _image(shape: Sequence[int]) -> tuple[int, int, int]:
    wanted = f"model=dcgan makes images with even sides of at least 8, not shape {list(shape)}"
    if len(shape) != 3 or min(shape[1:]) < 8:
        raise ConfigError(f"{wanted}: choose model=gan, or another image size")
    channels, height, across = shape
    if not _halves_well(height, across):
        n = halvings(height, across)
        # Sides rounded down to multiples of 2, 4, ..., 32.
        good = ((height >> i << i, across >> i << i) for i in range(1, 6))
        tall, wide = next(sides for sides in good if _halves_well(*sides))
        raise ConfigError(
            f"{wanted}: halving ends at {height >> n}x{across >> n} there; crop or resize to {tall}x{wide} "
            f"(data.height={tall} data.width={wide}), or choose model=gan"
        )
    return channels, height, across


def _halves_well(height: int, width: int) -> bool:
    """Whether several convolutions make the image, and not one linear layer that paints large planes."""
    n = halvings(height, width)
    last = min(height, width) >> n  # the side of the plane that the linear layer paints
    return n > 0 and last < (16 if n == 1 else 32)


def _down(before: int, after: int, kernel: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride=2, padding=(kernel - 1) // 2, bias=bias)


def _up(before: int, after: int, kernel: int, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        before, after, kernel, 2, (kernel - 1) // 2, output_padding=kernel % 2, bias=bias
    )


def initialise(root: nn.Module) -> None:
    """Weights from N(0, 0.02) (the paper's section 4), gains of batch norm from N(1, 0.02), biases 0.

    The gains are those of the released code (Newmu/dcgan_code); the paper does not mention them.
    """
    for layer in root.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.02)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
