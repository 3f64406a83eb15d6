"""Samples as pictures that one can look at."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganlab.errors import Refused

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

GAP = 2  # pixels between the images of a grid, before enlarging
GROUND = (0, 98, 155)  # what is seen there: a hue, for images may be of any grey
# Of samples in figures: what was drawn from the data, and what a game made (Okabe and Ito 2008).
REAL, MADE = "#7F7F7F", "#E69F00"
NAMED = 20  # classes, at most, whose names stand in a grid
LETTERS = 20  # of a name, at most


def images(samples: Tensor, value_range: tuple[float, float] | None) -> list[Image.Image]:
    """Samples [N, C, H, W] as single images of their own size; channels that are no colours lie side by side.

    Raises:
        Refused: they are not images.
    """
    return [Image.fromarray(pixels) for pixels in _pixels(samples, value_range)]


def columns_for(n: int, num_classes: int | None) -> int:
    """The columns of a grid of n samples: nearly square, and as many for each class where they are in turn."""
    if num_classes is None or n <= num_classes:
        return n if num_classes is not None and n <= NAMED else ceil(sqrt(n))
    return num_classes * max(round(sqrt(n) / num_classes), 1)


def grid(
    samples: Tensor,
    value_range: tuple[float, float] | None,
    columns: int | None = None,
    num_classes: int | None = None,
    names: Sequence[str] = (),
    real: Tensor | None = None,
) -> Image.Image:
    """Samples [N, C, H, W] in rows, nearly square where no number of columns is given.

    Small ones are enlarged to at least 32 pixels a side.

    Args:
        num_classes: the samples are of so many classes in turn, each of which has its own columns.
        names: of the classes, written above their columns where they are few.
        real: samples like these for a first row, which is marked off.
    """
    columns = columns or columns_for(len(samples), num_classes)
    turn = columns if num_classes is None or len(samples) <= num_classes else num_classes
    rows = _rows(_pixels(samples, value_range), columns, turn)
    titles = [_written(names[:columns], rows.shape[1])] if 0 < len(names) <= NAMED else []
    if real is None:
        return Image.fromarray(np.concatenate([*titles, rows]))
    above, below = (_written([word], rows.shape[1]) for word in ("real", "samples"))
    first = _rows(_pixels(real[:columns], value_range), columns, turn)
    return Image.fromarray(np.concatenate([above, *titles, first, below, rows]))


def drawn(figure: Figure) -> Image.Image:
    """The pixels of a figure, RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def save(image: Image.Image, path: Path) -> None:
    """Writes a PNG in one step."""
    part = path.with_name(path.name + ".part")
    image.save(part, format="PNG")
    part.replace(path)


def _rows(pixels: np.ndarray, columns: int, turn: int) -> np.ndarray:
    """Images [N, H, W] or [N, H, W, 3], enlarged, on a canvas [h, w, 3].

    Of `turn` kinds that follow each other each has columns / turn columns.
    """
    n, height, width = pixels.shape[:3]
    colours = pixels if pixels.ndim == 4 else pixels[..., None]
    each, down, right = columns // turn, height + GAP, width + GAP
    canvas = np.empty((ceil(ceil(n / turn) / each) * down + GAP, columns * right + GAP, 3), np.uint8)
    canvas[:] = GROUND
    for i, image in enumerate(colours):
        place, kind = divmod(i, turn)
        top, left = place // each * down + GAP, (kind * each + place % each) * right + GAP
        canvas[top : top + height, left : left + width] = image
    scale = ceil(32 / min(height, width))
    return canvas.repeat(scale, 0).repeat(scale, 1)


def _written(words: Sequence[str], width: int) -> np.ndarray:
    """Words over equal shares of a strip [h, width, 3]; all turned upwards where one is too long."""
    font, share = ImageFont.load_default(12), width / len(words)
    shown = [word[:LETTERS] for word in words]
    longest = max(ceil(font.getlength(word)) for word in shown)
    upright = len(words) > 1 and longest > share
    strip = Image.new("RGB", (width, longest + 4 if upright else 16), GROUND)
    for i, word in enumerate(shown):
        label = Image.new("RGB", (ceil(font.getlength(word)), 15), GROUND)
        ImageDraw.Draw(label).text((0, 0), word, "white", font)
        label = label.transpose(Image.Transpose.ROTATE_90) if upright else label
        strip.paste(label, (round((i + 0.5) * share - label.width / 2), strip.height - label.height))
    return np.asarray(strip)


def _pixels(samples: Tensor, value_range: tuple[float, float] | None) -> np.ndarray:
    """[N, ..., H, W] in a range -> uint8 [N, H, W] or [N, H, W, 3]; channels other than 1 or 3 side by side."""
    if samples.ndim < 3 or value_range is None:
        raise Refused(f"samples of shape {list(samples.shape[1:])} are no images; what=grid shows points")
    low, high = value_range
    levels = ((samples.float() - low) / (high - low) * 255).round().clamp(0, 255).byte().cpu().numpy()
    levels = levels.reshape(len(levels), -1, *levels.shape[-2:]).transpose(0, 2, 1, 3)  # [N, H, C, W]
    if levels.shape[2] == 3:
        return levels.swapaxes(2, 3)
    return levels.reshape(*levels.shape[:2], -1)
