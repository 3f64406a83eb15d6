"""Images seen through an affine map."""

from __future__ import annotations

import torch
from torch import Tensor

from ganlab.augmentations.images import pick


def warp(x: Tensor, source: Tensor) -> Tensor:
    """Images whose pixel at (column, row), from the middle, is that of another at source (column, row, 1).

    Beyond its edges an image is mirrored; between pixels it is linear.

    Args:
        source: [B, 3, 3], in pixels.
    """
    height, width = x.shape[2:]
    row = torch.arange(height, device=x.device)[:, None] - (height - 1) / 2
    column = torch.arange(width, device=x.device) - (width - 1) / 2
    across, down = (
        source[:, i, 0, None, None] * column + source[:, i, 1, None, None] * row + source[:, i, 2, None, None]
        for i in (0, 1)
    )  # [B, H, W] each
    above, below, lower = neighbours(down + (height - 1) / 2, height)
    left, right, further = neighbours(across + (width - 1) / 2, width)
    top = between(pick(x, above, left), pick(x, above, right), further)
    bottom = between(pick(x, below, left), pick(x, below, right), further)
    return between(top, bottom, lower)


def neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels on both sides of a place, and how far it is from the first to the second."""
    folded = (position + 0.5).remainder(2 * size)
    folded = (folded.minimum(2 * size - folded) - 0.5).clamp(0, size - 1)
    first = folded.floor()
    return first.long(), (first + 1).clamp(max=size - 1).long(), folded - first


def between(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return one + share[:, None] * (other - one)
