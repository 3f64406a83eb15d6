"""Base class of random image augmentations, which apply each transform with probability p.

Tricks such as `adaptive_augment` apply them. The setting `range` of the trick is the range of the data.
"""

from abc import ABC, abstractmethod
from typing import Annotated, NamedTuple, Self

from torch import Tensor

from ganlab.core.errors import ConfigError, require
from ganlab.core.randomness import RandomStreams
from ganlab.core.validation import ValueRange

# Types of the strengths of transforms; a strength of 0 disables its transform.
UpTo1 = Annotated[float, "[0, 1]"]
UpTo2 = Annotated[float, "[0, 2]"]
UpTo3 = Annotated[float, "[0, 3]"]


class Span(NamedTuple):
    """The middle of the data's range, and half of its width, which is the unit of some strengths."""

    middle: float
    half_width: float

    @classmethod
    def of_range(cls, value_range: ValueRange) -> Self:
        """The span of the trick's setting `range`; raises `ConfigError` if it is null or not increasing."""
        low, high = value_range or (0, 0)  # null is refused as if it were an empty range
        require(low < high, "must be two increasing numbers", "set it, or data.range", ".range", value_range)
        return cls((low + high) / 2, (high - low) / 2)


def validated_image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape of one sample, (C, H, W); raises `ConfigError` if the samples are not images."""
    if len(shape) != 3:
        reason = f"needs images, but a sample has the shape {list(shape)}"
        raise ConfigError(reason, "remove the trick, or choose image data")
    return shape


def require_shift_of_a_pixel(translation: float, shape: tuple[int, int, int]) -> None:
    """Refuses a positive fraction `translation` of the sides that shifts no image by a whole pixel."""
    side = max(shape[1:])  # the larger of height and width
    valid = translation == 0 or round(translation * side) > 0
    reason = f"is less than half a pixel for images of {side} pixels"
    require(valid, reason, "set a larger one, or 0", ".translation", translation)


class Augmentation(ABC):
    """A group of image transforms. Each is applied to each image independently with probability p."""

    @abstractmethod
    def has_effect(self, shape: tuple[int, int, int]) -> bool:
        """Whether any transform can change images of this shape, (C, H, W).

        Raises:
            ConfigError: a transform cannot be applied to such images.
        """

    @abstractmethod
    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, stream: str) -> Tensor:
        """Transforms images [B, C, H, W]. Images without a transform stay unchanged, bit for bit.

        Args:
            p: the probability of each transform, a scalar; values above 1 act as 1.
            stream: the start of the names of the random streams in `random`.
        """
