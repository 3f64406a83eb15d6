"""Data of pairs: each sample with an image that it answers."""

from typing import Unpack

import torch

from ganlab.core.errors import require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import OpenFraction
from ganlab.data.base import Data, DataSettings, check_image_settings
from ganlab.data.vision import digit_sources


class HalfDigits(Data):
    """The handwritten digits of scikit-learn, each with the upper half of itself as the condition.

    The lower half of the condition is blank: it has the lowest value. The splits are those of `Digits`.

    Args:
        condition: an image of the shape [1, 8, 8].

    Raises:
        ConfigError: a setting contradicts the data.
    """

    def __init__(self, **settings: Unpack[DataSettings]):
        check_pairs(settings, (1, 8, 8))

        def with_half(pixels: torch.Tensor) -> torch.Tensor:
            half = pixels.clone()
            half[:, :, 4:] = 0
            return torch.cat([pixels, half], 1)  # [N, 2, 8, 8]: the sample, then its condition

        super().__init__(**settings, sources=digit_sources(with_half))


class MissingDigits(Data):
    """The handwritten digits of scikit-learn, of each of which some pixels are missing.

    The condition holds the known pixels, where the missing ones have the lowest value, and then the mask,
    which has the highest value where a pixel is known. The mask of an image is the same in every run. The
    splits are those of `Digits`.

    Args:
        missing: the probability that a pixel is missing, independently of all others.
        condition: an image of the shape [2, 8, 8].

    Raises:
        ConfigError: a setting contradicts the data.
    """

    def __init__(self, missing: OpenFraction, **settings: Unpack[DataSettings]):
        check_pairs(settings, (2, 8, 8))

        def with_mask(pixels: torch.Tensor) -> torch.Tensor:
            known = torch.rand(pixels.shape, generator=seeded_generator("missing")) >= missing
            return torch.cat([pixels, pixels * known, known.byte() * 255], 1)  # [N, 3, 8, 8]

        super().__init__(**settings, sources=digit_sources(with_mask))


def check_pairs(settings: DataSettings, condition_shape: tuple[int, ...]) -> None:
    """Raises `ConfigError` if the settings are not those of digits with image conditions of this shape."""
    spec = settings["condition"]
    check_image_settings(settings, shape=(1, 8, 8), num_classes=None)
    fits = spec is not None and (spec.kind, spec.shape) == ("image", condition_shape)
    require(fits, f"must be an image of the shape {list(condition_shape)}", key=".condition")
