"""Where the pixels of an image go: one affine map for each image."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from ganlab.augmentations.base import Augmentation, Share, Span, UpTo3, gate
from ganlab.augmentations.warp import warp
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams


@dataclass
class Geometry(Augmentation):
    """Flips, turns, shifts and scales, as one affine map (Karras et al. 2020, appendix B).

    Pixels are interpolated linearly, where the paper filters with wavelets; beyond its edge an image is
    mirrored. What moves pixels to pixels is exact.

    flip: left and right change places in half of the images.
    quarter_turns: by 0, 90, 180 or 270 degrees, each as likely.
    translation: largest shift along each axis, in shares of the side, rounded to pixels. All shifts are as
        likely; in the released code the two largest come half as often, for it rounds after it draws.
    scale: standard deviation of the binary logarithm of a factor.
    rotation: largest angle, in half turns; one comes before `anisotropy` and one after it, and either of
        them with probability p.
    anisotropy: as scale, of a factor along the width, by which the height is divided.
    shift: standard deviation of a shift along each axis, in shares of the side, not rounded.
    """

    flip: bool
    quarter_turns: bool
    translation: Share
    scale: UpTo3
    rotation: Share
    anisotropy: UpTo3
    shift: Share

    def acts(self, name: str, shape: tuple[int, int, int]) -> bool:
        side = max(shape[1:])
        if self.translation and not round(self.translation * side):
            raise ConfigError(
                f"{name}.translation={self.translation:g} is less than half a pixel of {side}: "
                "give a larger one, or 0"
            )
        strengths = (self.translation, self.scale, self.rotation, self.anisotropy, self.shift)
        return self.flip or self.quarter_turns or any(strengths)

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, name: str) -> Tensor:
        return warp(x, self._sources(x, p, random, f"{name}/geometry"))

    def _sources(self, x: Tensor, p: Tensor, random: RandomStreams, name: str) -> Tensor:
        """Where a pixel comes from, [B, 3, 3]: the inverse maps, the first one leftmost."""
        n, (height, width) = len(x), x.shape[2:]
        chance, uniform = random.uniform(name, n, 2, 9).permute(1, 2, 0)  # [9, B] each
        normal = random.normal(name, n, 4).T
        either = 1 - (1 - p.clamp(max=1)).sqrt()  # of two rotations one is made with probability p
        maps = []
        if self.flip:
            maps.append(scaled(gate(chance[0], p, 1 - 2 * (2 * uniform[0]).floor(), 1), 1))
        if self.quarter_turns:
            maps.append(turned(gate(chance[1], p, (4 * uniform[1]).floor(), 0)))
        if self.translation:
            across, down = (
                gate(chance[2], p, whole(u, round(self.translation * size)), 0)
                for u, size in ((uniform[2], width), (uniform[3], height))
            )
            maps.append(moved(across, down))
        if self.scale:
            factor = gate(chance[3], p, (self.scale * normal[0]).exp2(), 1)
            maps.append(scaled(factor, factor))
        if self.rotation:
            maps.append(rotated(gate(chance[4], either, self.rotation * pi * (2 * uniform[4] - 1), 0)))
        if self.anisotropy:
            factor = gate(chance[5], p, (self.anisotropy * normal[1]).exp2(), 1)
            maps.append(scaled(factor, 1 / factor))
        if self.rotation:
            maps.append(rotated(gate(chance[6], either, self.rotation * pi * (2 * uniform[5] - 1), 0)))
        if self.shift:
            across, down = (self.shift * size * z for z, size in ((normal[2], width), (normal[3], height)))
            maps.append(moved(gate(chance[7], p, across, 0), gate(chance[7], p, down, 0)))
        source = scaled(torch.ones_like(chance[8]), 1)
        for inverse in maps:
            # No matrix product: autocast would take it in half a type's precision.
            source = (source[:, :, :, None] * inverse[:, None]).sum(2)
        return source


def whole(uniform: Tensor, most: int) -> Tensor:
    """Whole numbers between -most and most, each as likely."""
    return ((2 * most + 1) * uniform).floor() - most


def affine(*rows: list[Tensor | float]) -> Tensor:
    """Two rows of three numbers, some of them [B], as matrices [B, 3, 3]."""
    entries = [entry for row in rows for entry in row]
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    full = [torch.zeros_like(like) + entry for entry in (*entries, 0.0, 0.0, 1.0)]
    return torch.stack(full, 1).view(-1, 3, 3)


def scaled(across: Tensor, down: Tensor | float) -> Tensor:
    return affine([1 / across, 0.0, 0.0], [0.0, 1 / down, 0.0])


def moved(across: Tensor, down: Tensor) -> Tensor:
    return affine([1.0, 0.0, -across], [0.0, 1.0, -down])


def rotated(angle: Tensor) -> Tensor:
    """Against the clock, for one looks down the rows."""
    return affine([angle.cos(), -angle.sin(), 0.0], [angle.sin(), angle.cos(), 0.0])


def turned(quarters: Tensor) -> Tensor:
    """As rotated, by quarters of a turn: without the rounding of pi."""
    cos, sin = (quarters * pi / 2).cos().round(), (quarters * pi / 2).sin().round()
    return affine([cos, -sin, 0.0], [sin, cos, 0.0])
