"""Data of pairs: each sample with an image that it answers."""

from typing import Unpack

import torch

from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import require
from ganlab.core.validation import Whole
from ganlab.data.base import Data, DataSettings, check_image_settings
from ganlab.data.sources import HeldOut
from ganlab.data.vision import digit_sources


class HalfDigits(Data):
    """The handwritten digits of scikit-learn, each with the upper half of itself as the condition.

    The lower half of the condition is blank: it has the lowest value. The splits are those of `Digits`.

    Args:
        validation: the number of training images that are held out.
        validation_choice: `last` holds out the last images, `random` the same random images in every run.
        condition: an image of the shape [1, 8, 8].

    Raises:
        ConfigError: a setting contradicts the data, or too few images are left.
    """

    def __init__(self, validation: Whole, validation_choice: HeldOut, **settings: Unpack[DataSettings]):
        spec: ConditionSpec = settings["condition"]
        check_image_settings(settings, shape=(1, 8, 8), num_classes=None)
        fits = (spec.kind, spec.shape) == ("image", (1, 8, 8))
        require(fits, "must be an image of the shape [1, 8, 8]", key=".condition")

        def with_half(pixels: torch.Tensor) -> torch.Tensor:
            half = pixels.clone()
            half[:, :, 4:] = 0
            return torch.cat([pixels, half], 1)  # [N, 2, 8, 8]: the sample, then its condition

        super().__init__(**settings, sources=digit_sources(validation, validation_choice, with_half))
