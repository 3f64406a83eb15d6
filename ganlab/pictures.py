"""Samples as pictures that one can look at."""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ganlab.errors import Refused
from ganlab.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

GAP = 2  # pixels between the images of a grid, before enlarging


def images(samples: Tensor, value_range: tuple[float, float] | None) -> list[Image.Image]:
    """Samples [N, C, H, W], C 1 or 3, as single images of their own size.

    Raises:
        Refused: they are not images.
    """
    return [Image.fromarray(pixels) for pixels in _pixels(samples, value_range)]


def grid(samples: Tensor, value_range: tuple[float, float] | None, columns: int | None = None) -> Image.Image:
    """Samples [N, C, H, W] in rows, nearly square where no number of columns is given.

    Small ones are enlarged to at least 32 pixels a side.
    """
    pixels = _pixels(samples, value_range)
    n, height, width = pixels.shape[:3]
    columns = columns or ceil(sqrt(n))
    canvas = np.full(
        (ceil(n / columns) * (height + GAP) + GAP, columns * (width + GAP) + GAP, *pixels.shape[3:]),
        128,
        np.uint8,
    )
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (height + GAP) + GAP, (i % columns) * (width + GAP) + GAP
        canvas[top : top + height, left : left + width] = image
    scale = ceil(32 / min(height, width))
    return Image.fromarray(canvas.repeat(scale, 0).repeat(scale, 1))


def scatter(samples: Tensor) -> Image.Image:
    """Points [N, 2] in a plane."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot(aspect="equal", xlabel="x", ylabel="y")
    axes.scatter(samples[:, 0].float().cpu(), samples[:, 1].float().cpu(), s=4)
    return drawn(figure)


def histogram(samples: Tensor) -> Image.Image:
    """Points [N, 1] on a line, as the density of a histogram."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot(xlabel="x", ylabel="density")
    axes.hist(samples[:, 0].float().cpu(), bins=60, density=True)
    return drawn(figure)


def drawn(figure: Figure) -> Image.Image:
    """The pixels of a figure, RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def columns_for(num_classes: int | None) -> int | None:
    """A column for each class of samples that are of the classes in turn, where they fit side by side."""
    return num_classes if num_classes is not None and 4 <= num_classes <= 20 else None


def picture(
    samples: Tensor, value_range: tuple[float, float] | None, columns: int | None = None
) -> Image.Image:
    """A grid of images, a scatter plot of points in a plane, or a histogram of points on a line.

    Raises:
        Refused: the samples are none of these.
    """
    if samples.ndim == 2 and samples.shape[1] <= 2:
        return scatter(samples) if samples.shape[1] == 2 else histogram(samples)
    return grid(samples, value_range, columns)


def save(image: Image.Image, path: Path) -> None:
    """Writes a PNG in one step."""
    with replacing(path) as file:
        image.save(file, format="PNG")


def _pixels(samples: Tensor, value_range: tuple[float, float] | None) -> np.ndarray:
    """[N, C, H, W] in a range -> uint8 [N, H, W] or [N, H, W, 3]."""
    if samples.ndim != 4 or samples.shape[1] not in (1, 3) or value_range is None:
        raise Refused(f"samples of shape {list(samples.shape[1:])} are no images; format=grid shows points")
    low, high = value_range
    levels = ((samples.float() - low) / (high - low) * 255).round().clamp(0, 255).byte().cpu().numpy()
    return levels[:, 0] if levels.shape[1] == 1 else levels.transpose(0, 2, 3, 1)
