"""The deep convolutional players of Radford, Metz & Chintala (2016), for images with even sides."""

from collections.abc import Sequence
from itertools import count, pairwise
from typing import Annotated, NamedTuple

from torch import nn

from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import Count, ValueRange
from ganlab.networks.base import ConditionalSequential, Discriminator, Generator, output_layer, relu
from ganlab.networks.priors import Prior

Kernel = Annotated[int, "[3, inf)"]  # the height and width of a kernel


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
    """A generator: a linear layer to small feature maps, then transposed convolutions.

    Batch norm and (leaky) ReLU follow each layer but the last.

    Args:
        width: the number of channels at half of the image's height and width. It doubles whenever height and
            width are halved again.
        slope: the slope of leaky ReLU for negative inputs; 0: ReLU.
    """
    smallest = smallest_maps(shape)
    channels = [width * 2**i for i in reversed(range(smallest.halvings))]
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, channels[0] * smallest.height * smallest.width, bias=False),
        nn.Unflatten(1, (channels[0], smallest.height, smallest.width)),
        nn.BatchNorm2d(channels[0]),
        relu(slope),
    ]
    for num_inputs, num_outputs in pairwise(channels):
        convolution = _upsample(num_inputs, num_outputs, kernel, bias=False)
        layers += [convolution, nn.BatchNorm2d(num_outputs), relu(slope)]
    layers += [_upsample(channels[-1], shape[0], kernel, bias=True), output_layer(value_range)]
    return Generator(ConditionalSequential(*layers).apply(initialise), latent_dim, tuple(shape), prior)


def discriminator(
    width: Count, *, kernel: Kernel, slope: float, shape: Sequence[int], features: Count | None = None
) -> Discriminator:
    """A discriminator: strided convolutions with leaky ReLU, and a linear score.

    Batch norm follows each convolution but the first.

    Args:
        width, slope: as those of the generator.
        features: the size of a linear layer between the last feature maps and the score, as in MMD GANs (Li
            et al. 2017; Binkowski et al. 2018). None: the features are the elements of the last feature maps.
    """
    smallest = smallest_maps(shape)
    channels = [shape[0], *(width * 2**i for i in range(smallest.halvings))]
    layers: list[nn.Module] = []
    for i, (num_inputs, num_outputs) in enumerate(pairwise(channels)):
        norm = [nn.BatchNorm2d(num_outputs)] if i > 0 else []
        conv = nn.Conv2d(num_inputs, num_outputs, kernel, stride=2, padding=(kernel - 1) // 2, bias=not norm)
        layers += [conv, *norm, nn.LeakyReLU(slope)]
    num_elements = channels[-1] * smallest.height * smallest.width
    layers += [nn.Flatten(), *([nn.Linear(num_elements, features)] if features else [])]
    return Discriminator(ConditionalSequential(*layers), features or num_elements).apply(initialise)


class SmallestMaps(NamedTuple):
    """The size of the smallest feature maps, which is reached by halving the image's sides several times."""

    halvings: int  # how many times the sides are halved
    height: int
    width: int

    @property
    def is_small_enough(self) -> bool:
        """Whether most of the image is made by convolutions, not by the linear layer of the generator.

        The limits of the shorter side, 16 after one halving and 32 after several, are a choice.
        """
        return self.halvings > 0 and min(self.height, self.width) < (16 if self.halvings == 1 else 32)


def smallest_maps(shape: Sequence[int]) -> SmallestMaps:
    """The size of the smallest feature maps for images [C, H, W]; raises `ConfigError` if it does not fit."""
    need = "model=dcgan needs images with even sides of at least 8"
    is_large = len(shape) == 3 and min(shape[1:]) >= 8
    require(is_large, need, "choose model=gan, or another image size", "data.shape", list(shape))
    smallest = halve_repeatedly(*shape[1:])
    if not smallest.is_small_enough:
        # Suggests a smaller size: both sides are rounded down to multiples of 2, then of 4, of 8, and so on,
        # until the size works.
        rounded = ([side - side % 2**i for side in shape[1:]] for i in count(1))
        height, width = next(sides for sides in rounded if halve_repeatedly(*sides).is_small_enough)
        reason = f"{need}, but halving this size ends at {smallest.height}x{smallest.width}"
        remedy = f"crop or resize with data.height={height} data.width={width}, or choose model=gan"
        raise ConfigError(reason, remedy, "data.shape", list(shape))
    return smallest


def halve_repeatedly(height: int, width: int) -> SmallestMaps:
    """Halves both sides of an image while both are even, and the shorter one is long enough.

    For the first two halvings, it must be at least 4, so that small images have two convolutions. For each
    later halving, it must be at least 8.
    """
    halvings = 0
    while height % 2 == width % 2 == 0 and min(height, width) >= (4 if halvings < 2 else 8):
        height, width, halvings = height // 2, width // 2, halvings + 1
    return SmallestMaps(halvings, height, width)


def _upsample(num_inputs: int, num_outputs: int, kernel: int, *, bias: bool) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles the height and the width of feature maps."""
    padding, output_padding = (kernel - 1) // 2, kernel % 2
    return nn.ConvTranspose2d(num_inputs, num_outputs, kernel, 2, padding, output_padding, bias=bias)


def initialise(layer: nn.Module) -> None:
    """Draws a weight from N(0, 0.02^2), or the gains of a batch norm from N(1, 0.02^2); sets biases to 0.

    The weights are those of section 4 of the paper. The gains are those of its released code
    (Newmu/dcgan_code); the paper does not mention them.
    """
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1 if isinstance(layer, nn.BatchNorm2d) else 0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
