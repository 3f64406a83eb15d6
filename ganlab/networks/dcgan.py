"""The deep convolutional players of Radford, Metz & Chintala (2016), for images with even sides."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import nn

from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import Count, ValueRange
from ganlab.networks.base import ConditionalSequential, Discriminator, Generator, output_layer, relu
from ganlab.networks.priors import Prior

Kernel = Annotated[int, "[3, inf)"]


def generator(
    latent_dim: Count,
    width: Count,
    *,
    kernel: Kernel,
    slope: float,
    shape: Sequence[int],
    value_range: ValueRange,
    prior: Prior,
) -> Generator:
    """A generator: a linear layer to small planes, then transposed convolutions, batch norm and (leaky) ReLU.

    Args:
        width: the number of channels at half of the images' size; it doubles with each halving.
        slope: the slope of leaky ReLU for negative inputs; 0: ReLU.
        value_range: the range of the images: [-1, 1] or [0, 1].
    """
    channels, sides, depth = _plan(shape)
    widths = [width * 2**i for i in reversed(range(depth))]
    base = (widths[0], sides[0] >> depth, sides[1] >> depth)
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, base[0] * base[1] * base[2], bias=False),
        nn.Unflatten(1, base),
        nn.BatchNorm2d(base[0]),
        relu(slope),
    ]
    for before, after in pairwise(widths):
        layers += [_upsample(before, after, kernel, bias=False), nn.BatchNorm2d(after), relu(slope)]
    layers += [_upsample(widths[-1], channels, kernel, bias=True), output_layer(value_range)]
    body = ConditionalSequential(*layers)
    initialise(body)
    return Generator(body, latent_dim, tuple(shape), prior)


def discriminator(
    width: Count, *, kernel: Kernel, slope: float, shape: Sequence[int], features: Count | None = None
) -> Discriminator:
    """A discriminator: strided convolutions, batch norm after all but the first, leaky ReLU; a linear score.

    Args:
        width: the number of channels at half of the images' size; it doubles with each halving.
        features: the size of a linear layer between the last plane and the score, as in MMD GANs (Li et al.
            2017; Binkowski et al. 2018); None: the features are the elements of the last plane.
    """
    channels, sides, depth = _plan(shape)
    widths = [channels, *(width * 2**i for i in range(depth))]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        layers.append(nn.Conv2d(before, after, kernel, stride=2, padding=(kernel - 1) // 2, bias=i == 0))
        layers += [*([nn.BatchNorm2d(after)] if i else []), nn.LeakyReLU(slope)]
    layers.append(nn.Flatten())
    num_features = widths[-1] * (sides[0] >> depth) * (sides[1] >> depth)
    if features is not None:
        layers.append(nn.Linear(num_features, features))
        num_features = features
    network = Discriminator(ConditionalSequential(*layers), num_features)
    initialise(network)
    return network


def halvings(height: int, width: int) -> int:
    """The number of times that an image is halved: until a side is 4 to 7, but at least twice if possible."""
    n = 0
    while height % 2 == width % 2 == 0 and (min(height, width) >= 8 or (n < 2 and min(height, width) >= 4)):
        height, width, n = height // 2, width // 2, n + 1
    return n


def _plan(shape: Sequence[int]) -> tuple[int, tuple[int, int], int]:
    """The channels, the height and width, and the number of halvings of images [C, H, W]."""
    need = "model=dcgan needs images with even sides of at least 8"
    is_large = len(shape) == 3 and min(shape[1:]) >= 8
    require(is_large, "data.shape", list(shape), need, "choose model=gan, or another image size")
    channels, height, width = shape
    depth = halvings(height, width)
    if not _halves_well(height, width):
        # Sides rounded down to multiples of 2, 4, ..., 32.
        rounded = ((height >> i << i, width >> i << i) for i in range(1, 6))
        tall, wide = next(sides for sides in rounded if _halves_well(*sides))
        reason = f"{need}, but halving this size ends at {height >> depth}x{width >> depth}"
        remedy = f"crop or resize with data.height={tall} data.width={wide}, or choose model=gan"
        raise ConfigError(reason, remedy, "data.shape", list(shape))
    return channels, (height, width), depth


def _halves_well(height: int, width: int) -> bool:
    """Whether the linear layer fills small planes only, so that convolutions form the image."""
    n = halvings(height, width)
    last = min(height, width) >> n  # side of the plane that the linear layer fills
    return n > 0 and last < (16 if n == 1 else 32)


def _upsample(before: int, after: int, kernel: int, *, bias: bool) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles the sides."""
    sizes = {"stride": 2, "padding": (kernel - 1) // 2, "output_padding": kernel % 2}
    return nn.ConvTranspose2d(before, after, kernel, bias=bias, **sizes)  # type: ignore[arg-type]


def initialise(root: nn.Module) -> None:
    """Draws weights from N(0, 0.02^2) (section 4) and gains of batch norm from N(1, 0.02^2); biases are 0.

    The gains are those of the released code (Newmu/dcgan_code); the paper does not mention them.
    """
    for layer in root.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1 if isinstance(layer, nn.BatchNorm2d) else 0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
