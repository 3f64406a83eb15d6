"""Data of pairs: each sample with an image that it answers."""

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import OpenFraction
from ganlab.data.base import Data, DataSettings, check_image_settings
from ganlab.data.vision import digit_sources


class DigitPairs(Data):
    """The handwritten digits of scikit-learn, each with an image as its condition; the splits of `Digits`.

    Args:
        conditions_of: a function from the digits to their conditions, [N, 1, 8, 8] -> [N, C, 8, 8] uint8.

    Raises:
        ConfigError: a setting contradicts the data, or `condition` has another shape than these images.
    """

    def __init__(self, conditions_of: Callable[[Tensor], Tensor], **settings: Unpack[DataSettings]):
        check_image_settings(settings, shape=(1, 8, 8), num_classes=None)
        sources = digit_sources(lambda pixels: torch.cat([pixels, conditions_of(pixels)], 1))
        shape, spec = (sources["train"].x.shape[1] - 1, 8, 8), settings["condition"]
        fits = spec is not None and (spec.kind, spec.shape) == ("image", shape)
        require(fits, f"must be an image of the shape {list(shape)}", key=".condition")
        super().__init__(**settings, sources=sources)


# The names are those of the classes that these functions replace, because configs of earlier runs have them.


def HalfDigits(**settings: Unpack[DataSettings]) -> DigitPairs:  # noqa: N802
    """Digits, each with its upper half as the condition, whose lower half has the lowest value."""

    def upper_half(pixels: Tensor) -> Tensor:
        return pixels * (torch.arange(8) < 4)[:, None]

    return DigitPairs(upper_half, **settings)


def MissingDigits(missing: OpenFraction, **settings: Unpack[DataSettings]) -> DigitPairs:  # noqa: N802
    """Digits of which some pixels are missing, the same ones in every run.

    The condition holds the known pixels, where the missing ones have the lowest value, and then the mask,
    which has the highest value where a pixel is known.

    Args:
        missing: the probability that a pixel is missing, independently of all others.
    """

    def known_and_mask(pixels: Tensor) -> Tensor:
        known = torch.rand(pixels.shape, generator=seeded_generator("missing")) >= missing
        return torch.cat([pixels * known, known.byte() * 255], 1)  # [N, 2, 8, 8]

    return DigitPairs(known_and_mask, **settings)
