"""Samples as images, singly or in a grid; matplotlib figures as images; PNG files."""

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
BACKGROUND = (0, 98, 155)  # of grids and labels; blue, because images may have any grey
REAL, FAKE = "#7F7F7F", "#E69F00"  # colours of real and of generated points
MAX_LABEL = 20  # characters of a label that are shown
Names = Sequence[str]


def to_images(samples: Tensor, value_range: ValueRange) -> list[Image.Image]:
    """Samples [N, C, H, W] as images; channels that are not RGB are shown side by side.

    Raises:
        ConfigError: they are not images.
    """
    if samples.ndim < 3 or value_range is None:
        shape = list(samples.shape[1:])
        raise ConfigError(f"samples of shape {shape} are not images", "choose what=grid, which plots points")
    low, high = value_range
    levels = ((samples.float() - low) / (high - low) * 255).round().clamp(0, 255).byte().cpu().numpy()
    levels = levels.reshape(len(levels), -1, *levels.shape[-2:]).transpose(0, 2, 1, 3)  # [N, H, C, W]
    rgb = levels.shape[2] == 3
    return [Image.fromarray(x.swapaxes(1, 2) if rgb else x.reshape(len(x), -1)) for x in levels]


def grid(samples: Tensor, value_range: ValueRange, columns: int = 0, period: int = 0) -> Image.Image:
    """Samples [N, C, H, W] as one image, in reading order; nearly square if `columns` is 0.

    Samples of fewer than 32 pixels a side are enlarged. If the class of sample i is i modulo `period`, each
    class has columns / period columns of its own.
    """
    tiles = to_images(samples, value_range)
    columns = columns or ceil(sqrt(len(tiles)))
    period = period or columns
    per_class, (width, height) = columns // period, tiles[0].size
    rows = ceil(ceil(len(tiles) / period) / per_class)
    canvas = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), BACKGROUND)
    for i, tile in enumerate(tiles):
        row, column = divmod(i // period, per_class)
        column += i % period * per_class
        canvas.paste(tile, (column * (width + GAP) + GAP, row * (height + GAP) + GAP))
    return ImageOps.scale(canvas, ceil(32 / min(width, height)), Image.Resampling.NEAREST)


def stack_rows(parts: Sequence[Image.Image | Names]) -> Image.Image:
    """Images of one width below each other; labels between them are spread over that width, if any."""
    (width,) = {part.width for part in parts if isinstance(part, Image.Image)}
    images = [part if isinstance(part, Image.Image) else _label_strip(part, width) for part in parts if part]
    return Image.fromarray(np.concatenate([*map(np.asarray, images)]))


def _label_strip(labels: Names, width: int) -> Image.Image:
    """Labels over equal shares of a strip; all of them are vertical if one is too long."""
    from matplotlib import get_data_path  # its font has more characters than Pillow's own

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 11)
    texts, share = [label[:MAX_LABEL] for label in labels], width / len(labels)
    vertical = len(texts) > 1 and max(font.getbbox(text)[2] for text in texts) > share
    rotated = ImageFont.TransposedFont(font, Image.Transpose.ROTATE_90 if vertical else None)
    boxes = [rotated.getbbox(text) for text in texts]
    bottom = max(box[3] for box in boxes)
    strip = Image.new("RGB", (width, ceil(bottom) + 4), BACKGROUND)
    for i, (text, box) in enumerate(zip(texts, boxes, strict=True)):
        corner = ((i + 0.5) * share - box[2] / 2, strip.height - (box[3] if vertical else bottom) - 3)
        ImageDraw.Draw(strip).text(corner, text, "white", rotated)
    return strip


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, at 100 dpi whatever the user's matplotlibrc."""
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
