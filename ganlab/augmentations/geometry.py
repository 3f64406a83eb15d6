"""Geometric augmentations: images are warped by one affine map each."""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from ganlab.augmentations.base import Augmentation, Span, UpTo1, UpTo3, require_shift_of_a_pixel
from ganlab.augmentations.images import gather_pixels, uniform_integers
from ganlab.core.randomness import RandomStreams


@dataclass
class Geometry(Augmentation):
    """Flips, rotations, shifts and scalings, combined into one affine map (Karras et al. 2020, appendix B).

    Pixels are interpolated linearly, where the paper uses wavelet filters; images are mirrored beyond their
    edges. Transforms that map pixels onto pixels (flips, quarter turns, shifts by whole pixels) are exact.

    flip: whether images are reflected horizontally, with probability 1/2.
    quarter_turns: whether images are rotated by 0, 90, 180 or 270 degrees with equal probability.
    translation: the largest shift by whole pixels along each axis, as a fraction of the side. All shifts from
        -max to max have equal probability. In the released code, -max and max are half as likely as the
        others, because the drawn shift is rounded. For shifts by fractions of a pixel, see `shift`.
    scale: the standard deviation of log2 of the scale factor.
    rotation: the largest angle, in units of 180 degrees. There is one rotation before `anisotropy` and one
        after it; at least one of the two is applied with probability p.
    anisotropy: the standard deviation of log2 of a factor by which the width is multiplied and the height
        divided.
    shift: the standard deviation of a second shift along each axis, as a fraction of the side. This shift is
        not rounded to pixels.
    """

    flip: bool
    quarter_turns: bool
    translation: UpTo1
    scale: UpTo3
    rotation: UpTo1
    anisotropy: UpTo3
    shift: UpTo1

    def has_effect(self, shape: tuple[int, int, int]) -> bool:
        require_shift_of_a_pixel(self.translation, shape)
        strengths = (self.translation, self.scale, self.rotation, self.anisotropy, self.shift)
        return self.flip or self.quarter_turns or any(strengths)

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, stream: str) -> Tensor:
        return warp(x, self._inverse_maps(x, p, random, f"{stream}/geometry"))

    def _inverse_maps(self, x: Tensor, p: Tensor, random: RandomStreams, stream: str) -> Tensor:
        """Matrices that map the position of a pixel to that of its source, [B, 3, 3].

        Each is the product of the inverses of all transforms; the inverse of the first transform is leftmost.
        """
        n, _, height, width = x.shape
        # `chance[8]` and the last three of `uniform` are unused, but drawing fewer would change all results.
        chance, uniform = random.uniform(stream, n, 2, 9).permute(1, 2, 0)  # [9, B] each
        z_scale, z_stretch, z_right, z_down = random.normal(stream, n, 4).T
        u_flip, u_quarters, u_right, u_down, u_first_angle, u_second_angle, _, _, _ = uniform

        sign = torch.where((u_flip >= 0.5) & self.flip, -1.0, 1.0)
        quarters = (4 * u_quarters).floor() * self.quarter_turns
        right = uniform_integers(u_right, round(self.translation * width))
        down = uniform_integers(u_down, round(self.translation * height))
        scale, stretch = (self.scale * z_scale).exp2(), (self.anisotropy * z_stretch).exp2()
        largest_angle = self.rotation * pi
        p_rotation = 1 - (1 - p.clamp(max=1)).sqrt()  # then at least one of two is applied with probability p
        inverses = [
            (p, inverse_scaling(sign, 1)),
            (p, inverse_rotation(quarters * pi / 2).round()),  # exact, because the entries are -1, 0 or 1
            (p, inverse_translation(right, down)),
            (p, inverse_scaling(scale, scale)),
            (p_rotation, inverse_rotation(largest_angle * (2 * u_first_angle - 1))),
            (p, inverse_scaling(stretch, 1 / stretch)),
            (p_rotation, inverse_rotation(largest_angle * (2 * u_second_angle - 1))),
            (p, inverse_translation(self.shift * width * z_right, self.shift * height * z_down)),
        ]
        identity = product = torch.eye(3, device=x.device)
        for u_applied, (probability, inverse) in zip(chance[:8], inverses, strict=True):
            applied = u_applied[:, None, None] < probability  # to which images, [B, 1, 1]
            inverse = torch.where(applied, inverse, identity)
            # The matrix product, without `@`, which autocast would compute in half precision.
            product = (product[..., None] * inverse[:, None]).sum(2)
        return product


def affine(*entries: Tensor | float) -> Tensor:
    """Affine matrices [B, 3, 3] from the six entries of their first two rows, numbers or tensors [B]."""
    zeros = torch.zeros_like(next(entry for entry in entries if isinstance(entry, Tensor)))  # [B]
    return torch.stack([zeros + entry for entry in (*entries, 0.0, 0.0, 1.0)], 1).view(-1, 3, 3)


def inverse_scaling(horizontal: Tensor, vertical: Tensor | float) -> Tensor:
    """The inverses of scalings about the centre by factors [B], as matrices [B, 3, 3]."""
    return affine(1 / horizontal, 0.0, 0.0, 0.0, 1 / vertical, 0.0)


def inverse_translation(right: Tensor, down: Tensor) -> Tensor:
    """The inverses of shifts by numbers of pixels [B], as matrices [B, 3, 3]."""
    return affine(1.0, 0.0, -right, 0.0, 1.0, -down)


def inverse_rotation(angle: Tensor) -> Tensor:
    """The inverses of counter-clockwise rotations by angles [B], as matrices [B, 3, 3].

    Rows are counted downwards, which reverses the signs of the sines.
    """
    return affine(angle.cos(), -angle.sin(), 0.0, angle.sin(), angle.cos(), 0.0)


def warp(x: Tensor, inverse: Tensor) -> Tensor:
    """Images [B, C, H, W] under affine maps, interpolated linearly and mirrored beyond their edges.

    Args:
        inverse: the matrices that map the position (column, row, 1) of a pixel, in pixels from the centre, to
            that of its source, [B, 3, 3].
    """
    height, width = x.shape[2:]
    row = torch.arange(height, device=x.device)[:, None] - (height - 1) / 2  # [H, 1]
    column = torch.arange(width, device=x.device) - (width - 1) / 2  # [W]
    # The first two rows of each matrix are (a, b, c) and (d, e, f); each entry is a tensor [B, 1, 1].
    a, b, c, d, e, f = inverse[:, :2].flatten(1).T[..., None, None]
    source_column, source_row = a * column + b * row + c, d * column + e * row + f  # [B, H, W] each
    above, below, row_fraction = neighbours(source_row + (height - 1) / 2, height)
    left, right, column_fraction = neighbours(source_column + (width - 1) / 2, width)
    top = blend(gather_pixels(x, above, left), gather_pixels(x, above, right), column_fraction)
    bottom = blend(gather_pixels(x, below, left), gather_pixels(x, below, right), column_fraction)
    return blend(top, bottom, row_fraction)


def neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The indices of the pixels before and after a position, and its distance from the pixel before it.

    All three are [B, H, W], like the position. Positions beyond the edges are mirrored into the image first,
    and the mirrored images repeat with a period of 2 * size.
    """
    from_edge = (position + 0.5).remainder(2 * size)  # pixel i lies between i and i + 1
    mirrored = (from_edge.minimum(2 * size - from_edge) - 0.5).clamp(0, size - 1)
    first = mirrored.floor()
    return first.long(), (first + 1).clamp(max=size - 1).long(), mirrored - first


def blend(start: Tensor, end: Tensor, fraction: Tensor) -> Tensor:
    """Interpolates between images [B, C, H, W]: `start` where the fraction [B, H, W] is 0, `end` where 1."""
    return start + fraction[:, None] * (end - start)
