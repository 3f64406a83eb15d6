"""Colour augmentations: one linear map of the channels per image."""

from dataclasses import dataclass
from math import pi, sqrt

from torch import Tensor

from ganlab.augmentations.base import Augmentation, Share, Span, UpTo2, UpTo3, apply_where
from ganlab.augmentations.images import per_image
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams


@dataclass
class Colour(Augmentation):
    """Brightness, contrast, luma flip, hue and saturation (Karras et al. 2020, appendix B).

    With the grey axis v = (1, 1, 1) / sqrt(3), brightness adds along v, and each other transform is a gain
    along v, or a gain or a rotation in the plane orthogonal to v. These commute, so their product needs no
    matrices. Grey images have only the part along v.

    brightness: standard deviation of the added amount, in units of half of the width of the data's range.
    contrast: standard deviation of log2 of a factor about the middle of the range.
    luma_flip: whether the part along v is negated, in half of the images.
    hue: largest angle of a rotation about v, in units of 180 degrees.
    saturation: standard deviation of log2 of a factor orthogonal to v.
    """

    brightness: UpTo2
    contrast: UpTo3
    luma_flip: bool
    hue: Share
    saturation: UpTo3

    def changes(self, shape: tuple[int, int, int]) -> bool:
        if shape[0] not in (1, 3):
            reason = f"needs images with 1 or 3 channels for its colour transforms, but these have {shape[0]}"
            raise ConfigError(reason, "set its colour to null")
        changes_grey = self.luma_flip or any((self.brightness, self.contrast))
        return changes_grey or (shape[0] == 3 and any((self.hue, self.saturation)))

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, stream: str) -> Tensor:
        # The second call continues the stream of the first, so that all numbers are independent.
        chance, uniform = random.uniform(f"{stream}/colour", len(x), 2, 5).permute(1, 2, 0)  # [5, B] each
        normal = random.normal(f"{stream}/colour", len(x), 3).T
        added = apply_where(chance[0], p, span.half_width * self.brightness * normal[0], 0)
        gain = apply_where(chance[1], p, (self.contrast * normal[1]).exp2(), 1)
        # (2 * uniform).floor() is 0 or 1, each with probability 1/2.
        sign = apply_where(chance[2], p, 1 - 2 * (2 * uniform[2]).floor() * self.luma_flip, 1)
        angle = apply_where(chance[3], p, self.hue * pi * (2 * uniform[3] - 1), 0)
        orthogonal = gain * apply_where(chance[4], p, (self.saturation * normal[2]).exp2(), 1)
        along = gain * sign
        offset = along * added + (1 - along) * span.middle
        if x.shape[1] == 1:
            return per_image(along) * x + per_image(offset)
        return mix_channels(x, along, orthogonal, angle) + per_image(offset)


def mix_channels(x: Tensor, along: Tensor, orthogonal: Tensor, angle: Tensor) -> Tensor:
    """Applies gains [B] along and orthogonal to the grey axis, and a rotation about it, to [B, 3, H, W]."""
    cos, sin = per_image(orthogonal * angle.cos()), per_image(orthogonal * angle.sin())
    grey = x.mean(1, keepdim=True)
    cross_product = (x.roll(-2, 1) - x.roll(-1, 1)) / sqrt(3)  # v x colour
    return cos * x + (per_image(along) - cos) * grey + sin * cross_product
