"""Colour augmentations: the channels of each image are changed by one affine map."""

from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor

from ganlab.augmentations.base import Augmentation, Span, UpTo1, UpTo2, UpTo3
from ganlab.augmentations.images import per_image
from ganlab.core.errors import require
from ganlab.core.randomness import RandomStreams


@dataclass
class Colour(Augmentation):
    """Brightness, contrast, luma flip, hue and saturation (Karras et al. 2020, appendix B).

    Each pixel is a vector of three channels, and v = (1, 1, 1) / sqrt(3) is the grey axis. Brightness adds a
    multiple of v, and comes first. Contrast scales the whole vector about the middle of the range. Luma flip
    negates the part along v, also about the middle. Hue rotates the part orthogonal to v, and saturation
    scales this part. The last four transforms commute, so their product needs no matrices. Grey images have
    only the part along v.

    brightness: the standard deviation of the added amount, in units of half of the width of the data's range.
    contrast: the standard deviation of log2 of the factor by which both parts are scaled, about the middle of
        the range.
    luma_flip: whether the part along v is negated, in half of the images.
    hue: the largest angle of a rotation about v, in units of 180 degrees.
    saturation: the standard deviation of log2 of the factor by which the part orthogonal to v is scaled.
    """

    brightness: UpTo2
    contrast: UpTo3
    luma_flip: bool
    hue: UpTo1
    saturation: UpTo3

    def has_effect(self, shape: tuple[int, int, int]) -> bool:
        channels = shape[0]
        reason = f"needs images with 1 or 3 channels for its colour transforms, but these have {channels}"
        require(channels in (1, 3), reason, "set its colour to null")
        changes_grey = any((self.brightness, self.contrast, self.luma_flip))
        return changes_grey or (channels == 3 and any((self.hue, self.saturation)))

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, stream: str) -> Tensor:
        # `normal` continues the stream that `uniform` began, so all numbers are independent. Not all of the
        # uniform numbers are used, but drawing fewer would change all results.
        chance, uniform = random.uniform(f"{stream}/colour", len(x), 2, 5).permute(1, 2, 0)  # [5, B] each
        z_brightness, z_contrast, z_saturation = random.normal(f"{stream}/colour", len(x), 3).T
        _, _, u_flip, u_hue, _ = uniform
        # For each transform, whether it is applied to each image, bool [B].
        brightened, contrasted, flipped, rotated, saturated = chance < p

        added = torch.where(brightened, span.half_width * self.brightness * z_brightness, 0)
        gain = torch.where(contrasted, (self.contrast * z_contrast).exp2(), 1)
        sign = torch.where(flipped & (u_flip >= 0.5) & self.luma_flip, -1.0, 1.0)
        angle = torch.where(rotated, self.hue * pi * (2 * u_hue - 1), 0)
        gain_along = gain * sign
        gain_orthogonal = gain * torch.where(saturated, (self.saturation * z_saturation).exp2(), 1)
        # Along v, a value is mapped to gain_along * (value + added - middle) + middle.
        offset = gain_along * added + (1 - gain_along) * span.middle
        if x.shape[1] == 1:
            return per_image(gain_along) * x + per_image(offset)
        return mix_channels(x, gain_along, gain_orthogonal, angle) + per_image(offset)


def mix_channels(x: Tensor, gain_along: Tensor, gain_orthogonal: Tensor, angle: Tensor) -> Tensor:
    """Applies gains [B] along and orthogonal to the grey axis v, and a rotation about it, to [B, 3, H, W].

    By Rodrigues' formula, a rotation about v maps the part u of a colour that is orthogonal to v to
    u cos(angle) + (v x u) sin(angle).
    """
    cos, sin = per_image(gain_orthogonal * angle.cos()), per_image(gain_orthogonal * angle.sin())
    grey = x.mean(1, keepdim=True)  # the value of all three channels of the part along v
    # Channel i of v x u is (u[i + 2] - u[i + 1]) / sqrt(3), with indices modulo 3. The grey part of a colour
    # cancels in the difference, so the whole colour may be used for u.
    cross_product = (x.roll(-2, 1) - x.roll(-1, 1)) / sqrt(3)
    return cos * x + (per_image(gain_along) - cos) * grey + sin * cross_product
