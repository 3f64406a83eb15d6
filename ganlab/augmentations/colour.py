"""What becomes of the colours of an image: one linear map of the channels for each image."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

from torch import Tensor

from ganlab.augmentations.base import Augmentation, Share, Span, UpTo2, UpTo3, gate
from ganlab.augmentations.images import per_image
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams


@dataclass
class Colour(Augmentation):
    """Brightness, contrast, luma, hue and saturation (Karras et al. 2020, appendix B).

    With the grey axis v = (1, 1, 1) / sqrt(3), brightness adds along v, and each of the others is a gain
    along v, or a gain or a rotation across it. These commute, so their product is found without matrices. An
    image of one channel has its part along v alone.

    brightness: standard deviation of what is added, in half widths of the data's range.
    contrast: standard deviation of the binary logarithm of a factor about the middle of the range.
    luma_flip: the part along v is negated in half of the images.
    hue: largest angle about v, in half turns.
    saturation: standard deviation of the binary logarithm of a factor across v.
    """

    brightness: UpTo2
    contrast: UpTo3
    luma_flip: bool
    hue: Share
    saturation: UpTo3

    def acts(self, name: str, shape: tuple[int, int, int]) -> bool:
        if shape[0] not in (1, 3):
            raise ConfigError(f"{name} knows images of 1 or 3 channels, not of {shape[0]}: set {name}=null")
        grey = self.luma_flip or any((self.brightness, self.contrast))
        return grey or (shape[0] == 3 and any((self.hue, self.saturation)))

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, name: str) -> Tensor:
        chance, uniform = random.uniform(f"{name}/colour", len(x), 2, 5).permute(1, 2, 0)  # [5, B] each
        normal = random.normal(f"{name}/colour", len(x), 3).T
        added = gate(chance[0], p, span.unit * self.brightness * normal[0], 0)
        gain = gate(chance[1], p, (self.contrast * normal[1]).exp2(), 1)
        sign = gate(chance[2], p, 1 - 2 * (2 * uniform[2]).floor() * self.luma_flip, 1)
        angle = gate(chance[3], p, self.hue * pi * (2 * uniform[3] - 1), 0)
        across = gain * gate(chance[4], p, (self.saturation * normal[2]).exp2(), 1)
        along = gain * sign
        offset = along * added + (1 - along) * span.middle
        if x.shape[1] == 1:
            return per_image(along) * x + per_image(offset)
        return mix(x, along, across, angle) + per_image(offset)


def mix(x: Tensor, along: Tensor, across: Tensor, angle: Tensor) -> Tensor:
    """Gains along and across the grey axis, and a rotation about it, of three channels."""
    plane, turn = per_image(across * angle.cos()), per_image(across * angle.sin())
    grey = x.mean(1, keepdim=True)
    crossed = (x.roll(-2, 1) - x.roll(-1, 1)) / sqrt(3)  # the cross product of v and the colour
    return plane * x + (per_image(along) - plane) * grey + turn * crossed
