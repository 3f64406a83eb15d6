"""Samples as pictures that one can look at."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganlab.core.errors import ConfigError
from ganlab.data.base import ValueRange
from ganlab.filesystem import atomic_writer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

GAP = 2  # pixels between the images of a grid, before enlarging
BACKGROUND = (0, 98, 155)  # what is seen there: a hue, for images may be of any grey
# Of points: what is real, and what a game made.
REAL, FAKE = "#7F7F7F", "#E69F00"
LETTERS = 20  # of a name, at most
Names = Sequence[str]


def images(samples: Tensor, value_range: ValueRange) -> list[Image.Image]:
    """Samples [N, C, H, W] as single images of their own size; channels that are no colours lie side by side.

    Raises:
        ConfigError: they are not images.
    """
    return [Image.fromarray(pixels) for pixels in _pixels(samples, value_range)]


def grid(samples: Tensor, value_range: ValueRange, columns: int = 0, turn: int = 0) -> Image.Image:
    """Samples [N, C, H, W] in rows, nearly square where no number of columns is given.

    Small ones are enlarged to at least 32 pixels a side. Where they are of so many kinds in `turn`, each
    kind has columns / turn columns to itself.
    """
    pixels = _pixels(samples, value_range)
    pixels = pixels if pixels.ndim == 4 else pixels[..., None]
    n, height, width = pixels.shape[:3]
    columns = columns or ceil(sqrt(n))
    turn = turn or columns
    each, down, right = columns // turn, height + GAP, width + GAP
    canvas = np.empty((ceil(ceil(n / turn) / each) * down + GAP, columns * right + GAP, 3), np.uint8)
    canvas[:] = BACKGROUND
    for i, image in enumerate(pixels):
        place, kind = divmod(i, turn)
        top, left = place // each * down + GAP, (kind * each + place % each) * right + GAP
        canvas[top : top + height, left : left + width] = image
    scale = ceil(32 / min(height, width))
    return Image.fromarray(canvas.repeat(scale, 0).repeat(scale, 1))


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches at 100 dpi, independent of any matplotlibrc."""
    from matplotlib import rcdefaults
    from matplotlib.figure import Figure

    rcdefaults()
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def stack_rows(parts: Sequence[Image.Image | Names]) -> Image.Image:
    """Pictures of one width below each other, and between them words, each over its share of the width."""
    (width,) = {part.width for part in parts if isinstance(part, Image.Image)}
    pictures = (part if isinstance(part, Image.Image) else _written(part, width) for part in parts)
    return Image.fromarray(np.concatenate([*map(np.asarray, pictures)]))


def render(figure: Figure) -> Image.Image:
    """The pixels of a figure, RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def save_png(image: Image.Image, path: Path) -> None:
    """Writes a PNG in one step."""
    with atomic_writer(path) as file:
        image.save(file, format="PNG")


def _written(words: Names, width: int) -> Image.Image:
    """Words over equal shares of a strip; all of them upright where one is too long."""
    from matplotlib import get_data_path  # whose font has more letters than Pillow's own

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 11)
    shown, share = [word[:LETTERS] for word in words], width / len(words)
    upright = len(shown) > 1 and max(font.getbbox(word)[2] for word in shown) > share
    turned = ImageFont.TransposedFont(font, Image.Transpose.ROTATE_90 if upright else None)
    boxes = [turned.getbbox(word) for word in shown]
    deepest = max(box[3] for box in boxes)
    strip = Image.new("RGB", (width, ceil(deepest) + 4), BACKGROUND)
    for i, (word, box) in enumerate(zip(shown, boxes, strict=True)):
        corner = ((i + 0.5) * share - box[2] / 2, strip.height - (box[3] if upright else deepest) - 3)
        ImageDraw.Draw(strip).text(corner, word, "white", turned)
    return strip


def _pixels(samples: Tensor, value_range: ValueRange) -> np.ndarray:
    """[N, ..., H, W] in a range -> uint8 [N, H, W] or [N, H, W, 3]; what are no colours lies side by side."""
    if samples.ndim < 3 or value_range is None:
        raise ConfigError(f"samples of shape {list(samples.shape[1:])} are no images; what=grid shows points")
    low, high = value_range
    levels = ((samples.float() - low) / (high - low) * 255).round().clamp(0, 255).byte().cpu().numpy()
    levels = levels.reshape(len(levels), -1, *levels.shape[-2:]).transpose(0, 2, 1, 3)  # [N, H, C, W]
    if levels.shape[2] == 3:
        return levels.swapaxes(2, 3)
    return levels.reshape(*levels.shape[:2], -1)
