"""Geometric augmentations: images are warped by one affine map each."""

from dataclasses import dataclass
from functools import reduce
from math import pi

import torch
from torch import Tensor

from ganlab.augmentations.base import Augmentation, Share, Span, UpTo3, apply_where, refuse_subpixel_shift
from ganlab.augmentations.images import pick, uniform_integers
from ganlab.core.randomness import RandomStreams


@dataclass
class Geometry(Augmentation):
    """Flips, rotations, shifts and scalings, combined into one affine map (Karras et al. 2020, appendix B).

    Pixels are interpolated linearly, where the paper uses wavelet filters; images are mirrored beyond their
    edges. Transforms that map pixels onto pixels (flips, quarter turns, shifts by whole pixels) are exact.

    flip: whether images are reflected horizontally, with probability 1/2.
    quarter_turns: whether images are rotated by 0, 90, 180 or 270 degrees with equal probability.
    translation: largest shift along each axis, as a share of the side, rounded to pixels. All shifts from
        -max to max have equal probability. In the released code, -max and max are half as likely as the
        others, because the drawn shift is rounded.
    scale: standard deviation of log2 of a scale factor.
    rotation: largest angle, in units of 180 degrees. There is one rotation before `anisotropy` and one
        after it; at least one of the two is applied with probability p.
    anisotropy: standard deviation of log2 of a factor that scales the width and divides the height.
    shift: standard deviation of a shift along each axis by a fraction of the side, not rounded to pixels.
    """

    flip: bool
    quarter_turns: bool
    translation: Share
    scale: UpTo3
    rotation: Share
    anisotropy: UpTo3
    shift: Share

    def changes(self, shape: tuple[int, int, int]) -> bool:
        refuse_subpixel_shift(self.translation, shape)
        strengths = (self.translation, self.scale, self.rotation, self.anisotropy, self.shift)
        return self.flip or self.quarter_turns or any(strengths)

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, stream: str) -> Tensor:
        return warp(x, self._inverse_maps(x, p, random, f"{stream}/geometry"))

    def _inverse_maps(self, x: Tensor, p: Tensor, random: RandomStreams, stream: str) -> Tensor:
        """Matrices that map a pixel to its source, [B, 3, 3].

        They are products of the transforms' inverses, with that of the first transform leftmost.
        """
        n, (height, width) = len(x), x.shape[2:]
        # Not all of the 9 numbers are used. Drawing fewer would change all results.
        chance, uniform = random.uniform(stream, n, 2, 9).permute(1, 2, 0)  # [9, B] each
        normal = random.normal(stream, n, 4).T
        p_rotation = 1 - (1 - p.clamp(max=1)).sqrt()  # then at least one of two is applied with probability p

        def where(i: int, parameter: Tensor, neutral: float, probability: Tensor = p) -> Tensor:
            """The parameter of the i-th transform where it is applied, elsewhere its neutral value."""
            return apply_where(chance[i], probability, parameter, neutral)

        right = uniform_integers(uniform[2], round(self.translation * width))
        down = uniform_integers(uniform[3], round(self.translation * height))
        scale = where(3, (self.scale * normal[0]).exp2(), 1)
        stretch = where(5, (self.anisotropy * normal[1]).exp2(), 1)
        shift_right, shift_down = self.shift * width * normal[2], self.shift * height * normal[3]
        maps = [
            inverse_scaling(where(0, 1 - 2 * (2 * uniform[0]).floor() * self.flip, 1), 1),
            inverse_quarter_turns(where(1, (4 * uniform[1]).floor() * self.quarter_turns, 0)),
            inverse_translation(where(2, right, 0), where(2, down, 0)),
            inverse_scaling(scale, scale),
            inverse_rotation(where(4, self.rotation * pi * (2 * uniform[4] - 1), 0, p_rotation)),
            inverse_scaling(stretch, 1 / stretch),
            inverse_rotation(where(6, self.rotation * pi * (2 * uniform[5] - 1), 0, p_rotation)),
            inverse_translation(where(7, shift_right, 0), where(7, shift_down, 0)),
        ]
        # Not a matrix product, which autocast would compute in half precision.
        return reduce(lambda product, inverse: (product[:, :, :, None] * inverse[:, None]).sum(2), maps)


def affine(*entries: Tensor | float) -> Tensor:
    """Affine matrices [B, 3, 3] from the six entries of their first two rows, numbers or [B]."""
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    full = [torch.zeros_like(like) + entry for entry in (*entries, 0.0, 0.0, 1.0)]
    return torch.stack(full, 1).view(-1, 3, 3)


def inverse_scaling(horizontal: Tensor, vertical: Tensor | float) -> Tensor:
    """The inverse of a scaling about the centre by factors [B], as matrices [B, 3, 3]."""
    return affine(1 / horizontal, 0.0, 0.0, 0.0, 1 / vertical, 0.0)


def inverse_translation(right: Tensor, down: Tensor) -> Tensor:
    """The inverse of a shift by pixels [B], as matrices [B, 3, 3]."""
    return affine(1.0, 0.0, -right, 0.0, 1.0, -down)


def inverse_rotation(angle: Tensor) -> Tensor:
    """The inverse of a counter-clockwise rotation, [B] -> [B, 3, 3]; rows are counted downwards."""
    return affine(angle.cos(), -angle.sin(), 0.0, angle.sin(), angle.cos(), 0.0)


def inverse_quarter_turns(quarters: Tensor) -> Tensor:
    """The inverse of a rotation by multiples of 90 degrees, without rounding errors: [B] -> [B, 3, 3]."""
    cos, sin = (quarters * pi / 2).cos().round(), (quarters * pi / 2).sin().round()
    return affine(cos, -sin, 0.0, sin, cos, 0.0)


def warp(x: Tensor, inverse: Tensor) -> Tensor:
    """Images [B, C, H, W] under affine maps, interpolated linearly and mirrored beyond their edges.

    Args:
        inverse: matrices from the position (column, row, 1) of a pixel to that of its source, in pixels from
            the centre, [B, 3, 3].
    """
    height, width = x.shape[2:]
    row = torch.arange(height, device=x.device)[:, None] - (height - 1) / 2
    column = torch.arange(width, device=x.device) - (width - 1) / 2
    horizontal, vertical = (
        inverse[:, i, 0, None, None] * column
        + inverse[:, i, 1, None, None] * row
        + inverse[:, i, 2, None, None]
        for i in (0, 1)
    )  # [B, H, W] each
    above, below, row_fraction = neighbours(vertical + (height - 1) / 2, height)
    left, right, column_fraction = neighbours(horizontal + (width - 1) / 2, width)
    top = interpolate(pick(x, above, left), pick(x, above, right), column_fraction)
    bottom = interpolate(pick(x, below, left), pick(x, below, right), column_fraction)
    return interpolate(top, bottom, row_fraction)


def neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The indices of the pixels before and after a position, and its distance from the first, [B, H, W] each.

    Positions beyond the edges are mirrored: they repeat with a period of twice the size.
    """
    folded = (position + 0.5).remainder(2 * size)
    folded = (folded.minimum(2 * size - folded) - 0.5).clamp(0, size - 1)
    first = folded.floor()
    return first.long(), (first + 1).clamp(max=size - 1).long(), folded - first


def interpolate(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """The point at a share [B, H, W] of the way from one image to another, [B, C, H, W]."""
    return one + share[:, None] * (other - one)
