"""Samples and matplotlib figures as images, grids of images, and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ganlab.core.errors import ConfigError
from ganlab.filesystem import atomic_writer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from ganlab.data.base import ValueRange

GAP = 2  # pixels between the images of a grid, before enlarging
MIN_SIDE = 32  # pixels; a grid enlarges smaller images
BACKGROUND = (0, 98, 155)  # the colour behind images and labels; blue, because images may have any grey
REAL_COLOUR, FAKE_COLOUR = "#7F7F7F", "#E69F00"  # the colours of real and of generated points
MAX_LABEL_LENGTH = 20  # characters; longer labels are cut off


def to_images(samples: Tensor, value_range: ValueRange) -> list[Image.Image]:
    """Samples [N, C, H, W] as images; channels that are not RGB are shown side by side.

    Raises:
        ConfigError: the samples are not images.
    """
    if samples.ndim < 3 or value_range is None:
        shape = list(samples.shape[1:])
        raise ConfigError(f"samples of shape {shape} are not images", "choose what=grid, which plots points")
    low, high = value_range
    levels = ((samples.float() - low) / (high - low) * 255).round().clamp(0, 255).byte().cpu().numpy()
    levels = levels.reshape(len(levels), -1, *levels.shape[-2:]).transpose(0, 2, 1, 3)  # [N, H, C, W]
    rgb = levels.shape[2] == 3
    # Each is [H, W, 3] or [H, C W].
    return [Image.fromarray(x.swapaxes(1, 2) if rgb else x.reshape(len(x), -1)) for x in levels]


def grid(samples: Tensor, value_range: ValueRange, columns: int = 0, period: int = 0) -> Image.Image:
    """A grid of samples [N, C, H, W] in reading order, enlarged if they are small.

    Args:
        columns: the number of columns; 0: as many as make the grid nearly square.
        period: the number of classes, if the class of sample i is i modulo `period`. Then each class fills
            columns / period adjacent columns. For example, 8 samples of 2 classes in 4 columns are arranged
            as 0 2 1 3 / 4 6 5 7, with class 0 on the left. 0: the samples are not ordered by class.
    """
    tiles = to_images(samples, value_range)
    columns = columns or ceil(sqrt(len(tiles)))
    period = period or columns
    columns_per_class, (width, height) = columns // period, tiles[0].size
    rows = ceil(ceil(len(tiles) / period) / columns_per_class)
    canvas = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), BACKGROUND)
    for i, tile in enumerate(tiles):
        index, label = divmod(i, period)  # the sample is the index-th one of its class
        row, column = index // columns_per_class, label * columns_per_class + index % columns_per_class
        canvas.paste(tile, (column * (width + GAP) + GAP, row * (height + GAP) + GAP))
    return ImageOps.scale(canvas, ceil(MIN_SIDE / min(width, height)), Image.Resampling.NEAREST)


def stack_rows(parts: Sequence[Image.Image | Sequence[str]]) -> Image.Image:
    """Images of equal width below each other, with rows of labels spread evenly over that width.

    Args:
        parts: the images and the labels of each row, from top to bottom; empty rows are left out.
    """
    (width,) = {part.width for part in parts if isinstance(part, Image.Image)}
    images = [part if isinstance(part, Image.Image) else _label_strip(part, width) for part in parts if part]
    return Image.fromarray(np.concatenate([*map(np.asarray, images)]))


def _label_strip(labels: Sequence[str], width: int) -> Image.Image:
    """A row of labels, each centred in a cell of equal width; all are vertical if one does not fit."""
    from matplotlib import get_data_path  # matplotlib's font has more characters than Pillow's

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 11)
    texts, cell = [label[:MAX_LABEL_LENGTH] for label in labels], width / len(labels)
    vertical = len(texts) > 1 and max(font.getbbox(text)[2] for text in texts) > cell
    rotated = ImageFont.TransposedFont(font, Image.Transpose.ROTATE_90 if vertical else None)
    boxes = [rotated.getbbox(text) for text in texts]  # (left, top, right, bottom)
    bottom = max(box[3] for box in boxes)
    strip = Image.new("RGB", (width, ceil(bottom) + 4), BACKGROUND)
    for i, (text, box) in enumerate(zip(texts, boxes, strict=True)):
        corner = ((i + 0.5) * cell - box[2] / 2, strip.height - (box[3] if vertical else bottom) - 3)
        ImageDraw.Draw(strip).text(corner, text, "white", rotated)
    return strip


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, at 100 dpi; the user's matplotlibrc has no effect."""
    from matplotlib import rcdefaults
    from matplotlib.figure import Figure

    rcdefaults()
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def render(figure: Figure) -> Image.Image:
    """The pixels of a figure, RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def save_png(image: Image.Image, path: Path) -> None:
    """Writes a PNG file atomically."""
    with atomic_writer(path) as file:
        image.save(file, format="PNG")
