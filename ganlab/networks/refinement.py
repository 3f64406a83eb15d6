"""A generator of two stages, which refines the samples of a smaller one (Zhang et al. 2017, StackGAN)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganlab.core.errors import require
from ganlab.core.validation import Count, ValueRange
from ganlab.networks.base import ConditionalSequential, Conditioned, Generator, output_layer
from ganlab.networks.borrowed import Borrowed


class Enlarged(Conditioned):
    """The sample of a trained generator, enlarged: latents [B, latent_dim] -> [B, C, H, W]."""

    def __init__(self, stage: Borrowed, size: Sequence[int]):
        super().__init__()
        self.stage, self.size = stage, size

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        return interpolate(self.stage(latent, condition), self.size)


def refiner(stage: Borrowed, width: Count, shape: Sequence[int], value_range: ValueRange) -> Generator:
    """A generator that refines the sample of a borrowed one by three convolutions of kernel 3.

    Latents, prior and condition are those of the borrowed generator. Batch norm and ReLU follow each
    convolution but the last.

    Args:
        stage: the borrowed generator of smaller images.
        width: the number of channels between the convolutions.

    Raises:
        ConfigError: the borrowed generator makes no images of as many channels.
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
