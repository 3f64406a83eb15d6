"""Changes of images [B, C, H, W], each image by numbers of its own, [B]; differentiable in the images."""

from __future__ import annotations

import torch
from torch import Tensor


def per_image(values: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1]."""
    return values.view(-1, 1, 1, 1)


def brighten(x: Tensor, amount: Tensor) -> Tensor:
    """Adds an amount to all numbers of an image."""
    return x + per_image(amount)


def saturate(x: Tensor, factor: Tensor) -> Tensor:
    """Stretches each pixel about the mean of its channels: 0 makes it grey, 1 leaves it."""
    grey = x.mean(1, keepdim=True)
    return grey + (x - grey) * per_image(factor)


def stretch(x: Tensor, factor: Tensor) -> Tensor:
    """Changes the contrast: stretches an image about its mean."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * per_image(factor)


def translate(x: Tensor, down: Tensor, right: Tensor, fill: float) -> Tensor:
    """Moves images by whole pixels; where nothing comes from is filled.

    Args:
        down, right: whole numbers of any sign, [B].
    """
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device) - down.long()[:, None]  # [B, H]: where a row comes from
    columns = torch.arange(width, device=x.device) - right.long()[:, None]  # [B, W]
    inside = _within(rows, height)[:, None, :, None] & _within(columns, width)[:, None, None, :]
    moved = pick(x, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :])
    return moved.where(inside, fill)


def _within(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)


def pick(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels at indices that broadcast to [B, H, W], as [B, C, H, W].

    By indexing: its slope is the same in every run on a GPU, which that of `grid_sample` is not.
    """
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return x[image, :, rows, columns].movedim(-1, 1)


def cut(x: Tensor, centre: Tensor, side: Tensor, fill: float) -> Tensor:
    """Fills a rectangle; what of it lies outside of the image is lost.

    Args:
        centre: in shares of height and width, [B, 2].
        side: of the rectangle, in shares of height and width; 0 cuts nothing, [B].
    """
    height, width = x.shape[2:]
    rows, columns = _near(centre[:, 0], side, height), _near(centre[:, 1], side, width)
    return x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], fill)


def _near(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """Which of the rows, or columns, have their middle in the rectangle, [B, size]."""
    middle = (torch.arange(size, device=centre.device) + 0.5) / size
    return (middle - centre[:, None]).abs() < side[:, None] / 2
