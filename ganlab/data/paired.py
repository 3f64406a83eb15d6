"""Data of pairs: each sample with an image that it answers."""

from typing import Unpack

import torch

from ganlab.core.errors import require
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
        spec = settings["condition"]
        check_image_settings(settings, shape=(1, 8, 8), num_classes=None)
        fits = spec is not None and (spec.kind, spec.shape) == ("image", (1, 8, 8))
        require(fits, "must be an image of the shape [1, 8, 8]", key=".condition")

        def with_half(pixels: torch.Tensor) -> torch.Tensor:
            half = pixels.clone()
            half[:, :, 4:] = 0
            return torch.cat([pixels, half], 1)  # [N, 2, 8, 8]: the sample, then its condition

        super().__init__(**settings, sources=digit_sources(with_half))
