"""Differentiable transforms of images [B, C, H, W], with one parameter per image, [B]."""

import torch
from torch import Tensor


def per_image(values: Tensor) -> Tensor:
    """Reshapes one number per image, so that it broadcasts to images: [B] -> [B, 1, 1, 1]."""
    return values.view(-1, 1, 1, 1)


def uniform_integers(uniform: Tensor, largest: int) -> Tensor:
    """Maps uniform numbers in [0, 1) to integers from -largest to largest with equal probability."""
    return ((2 * largest + 1) * uniform).floor() - largest


def scale_about_mean(x: Tensor, factor: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Scales the deviations from the mean over `dims`: 0 gives the mean, 1 leaves the image unchanged.

    With the mean over the channels, this changes the saturation, and with the mean of the image the contrast.
    """
    mean = x.mean(dims, keepdim=True)
    return mean + (x - mean) * per_image(factor)


def translate(x: Tensor, down: Tensor, right: Tensor, fill: float) -> Tensor:
    """Shifts images by whole pixels.

    Args:
        down, right: the shifts, integers of any sign, [B].
        fill: the value of pixels without a source.
    """
    height, width = x.shape[2:]
    # The source of each row, [B, H], and of each column, [B, W]; it may lie outside of the image.
    rows = torch.arange(height, device=x.device) - down.long()[:, None]
    columns = torch.arange(width, device=x.device) - right.long()[:, None]
    valid_rows, valid_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    # Whether each pixel has a source, [B, 1, H, W].
    inside = (rows == valid_rows)[:, None, :, None] & (columns == valid_columns)[:, None, None, :]
    return gather_pixels(x, valid_rows[:, :, None], valid_columns[:, None, :]).where(inside, fill)


def gather_pixels(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels at row and column indices that broadcast to [B, H, W], as images [B, C, H, W].

    Pixels are read by indexing, whose gradient is deterministic on a GPU, unlike that of `grid_sample`.
    """
    image = torch.arange(len(x), device=x.device)[:, None, None]  # the index of each image in the batch
    return x[image, :, rows, columns].movedim(-1, 1)  # indexing puts the channels last


def fill_rectangle(x: Tensor, row: Tensor, column: Tensor, side: Tensor, fill: float) -> Tensor:
    """Fills a rectangle, which may extend beyond the image, with the value `fill`.

    Args:
        row, column: the rectangle's centre, as fractions of the image's height and width, [B] each.
        side: the rectangle's height and width, as a fraction of those of the image, [B]; 0 fills nothing.
    """
    height, width = x.shape[2:]
    rows, columns = _inside_rectangle(row, side, height), _inside_rectangle(column, side, width)
    covered = rows[:, None, :, None] & columns[:, None, None, :]  # [B, 1, H, W]
    return x.masked_fill(covered, fill)


def _inside_rectangle(centre: Tensor, side: Tensor, size: int) -> Tensor:
    """Whether the middle of each of `size` rows or columns lies in the rectangle, bool [B, size]."""
    middle = (torch.arange(size, device=centre.device) + 0.5) / size
    return (middle - centre[:, None]).abs() < side[:, None] / 2
