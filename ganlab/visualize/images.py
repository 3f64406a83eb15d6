"""Samples and matplotlib figures as images, grids of images, and PNG and GIF files."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import get_data_path, rcdefaults
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ganlab.core.errors import ConfigError
from ganlab.filesystem import atomic_writer

if TYPE_CHECKING:
    from torch import Tensor

    from ganlab.core.validation import ValueRange

GAP = 2  # the number of pixels between the images of a grid, before the grid is enlarged
MIN_SIDE = 32  # the smallest side of an image in a grid, in pixels; a grid with smaller images is enlarged
BACKGROUND = (0, 98, 155)  # the colour behind images and labels: blue, since images may have any grey
REAL_COLOUR, FAKE_COLOUR = "#7F7F7F", "#E69F00"  # the colours of real and of generated points
FRAME_TIME, LAST_FRAME_TIME = 90, 2500  # milliseconds for which each frame, and the last frame, is shown
MAX_LABEL_LENGTH = 20  # the largest number of characters of a label; longer labels are cut off


def to_images(samples: Tensor, value_range: ValueRange) -> list[Image.Image]:
    """Samples [N, C, H, W] as images; channels that are not RGB are shown side by side.

    Raises:
        ConfigError: the samples are not images.
    """
    if samples.ndim < 3 or value_range is None:
        shape = list(samples.shape[1:])
        raise ConfigError(f"samples of shape {shape} are not images", "choose what=grid, which plots points")
    low, high = value_range
    levels = ((samples.float() - low) / (high - low) * 255).round().clamp(0, 255).byte().cpu()
    pixels = levels.reshape(len(levels), -1, *levels.shape[-2:]).transpose(1, 2)  # [N, H, C, W]
    is_rgb = pixels.shape[2] == 3
    images = pixels.transpose(2, 3) if is_rgb else pixels.flatten(2)  # [N, H, W, 3], or [N, H, C W]
    return [Image.fromarray(image.numpy()) for image in images]


def grid(samples: Tensor, value_range: ValueRange, columns: int, num_classes: int = 0) -> Image.Image:
    """A grid of samples [N, C, H, W] in reading order, enlarged if the images are small.

    With `num_classes`, each row is sorted by class; sample i has class i modulo `num_classes`. For example, 8
    samples of 2 classes in 4 columns are arranged as 0 2 1 3 / 4 6 5 7: class 0 has the two left columns.
    """
    tiles = to_images(samples, value_range)
    width, height = (side + GAP for side in tiles[0].size)  # from one image to the next
    canvas = Image.new("RGB", (columns * width + GAP, ceil(len(tiles) / columns) * height + GAP), BACKGROUND)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        if num_classes:  # the columns of a class are adjacent
            column_in_class, label = divmod(column, num_classes)
            column = label * (columns // num_classes) + column_in_class
        canvas.paste(tile, (column * width + GAP, row * height + GAP))
    return ImageOps.scale(canvas, ceil(MIN_SIDE / min(tiles[0].size)), Image.Resampling.NEAREST)


def stack_rows(rows: Sequence[Image.Image | Sequence[str]]) -> Image.Image:
    """Images of equal width, and lines of labels that are spread evenly over it; empty ones are left out."""
    (width,) = {row.width for row in rows if isinstance(row, Image.Image)}  # the images have one width
    images = [row if isinstance(row, Image.Image) else _label_strip(row, width) for row in rows if row]
    return Image.fromarray(np.concatenate([*map(np.asarray, images)]))


def _label_strip(labels: Sequence[str], width: int) -> Image.Image:
    """A line of labels, each centred in a cell of equal width; all are vertical if one does not fit."""
    # The font of matplotlib has more characters than that of Pillow.
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 11)
    texts, cell_width = [label[:MAX_LABEL_LENGTH] for label in labels], width / len(labels)
    is_vertical = len(texts) > 1 and any(right > cell_width for _, _, right, _ in map(font.getbbox, texts))
    label_font = ImageFont.TransposedFont(font, Image.Transpose.ROTATE_90 if is_vertical else None)
    sizes = [label_font.getbbox(text)[2:] for text in texts]  # the right and lower ends of each text
    max_height = max(text_height for _, text_height in sizes)
    strip = Image.new("RGB", (width, ceil(max_height) + 4), BACKGROUND)
    for i, (text, (text_width, text_height)) in enumerate(zip(texts, sizes, strict=True)):
        left = (i + 0.5) * cell_width - text_width / 2
        # Vertical texts end at one height. Horizontal ones start at one height, so they share a baseline.
        top = strip.height - 3 - (text_height if is_vertical else max_height)
        ImageDraw.Draw(strip).text((left, top), text, "white", label_font)
    return strip


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, at 100 dpi."""
    rcdefaults()  # for the whole process, so that the user's matplotlibrc has no effect
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def render(figure: Figure) -> Image.Image:
    """The pixels of a figure, RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def save_png(image: Image.Image, path: Path) -> None:
    with atomic_writer(path) as file:
        image.save(file, format="PNG")


def overview(frames: Sequence[Image.Image]) -> Image.Image:
    """Four frames, evenly spaced from the first to the last, as one image of two rows and two columns."""
    last = len(frames) - 1
    chosen = [np.asarray(frames[round(i * last / 3)]) for i in range(4)]
    return Image.fromarray(np.vstack([np.hstack(chosen[:2]), np.hstack(chosen[2:])]))


def save_gif(frames: Sequence[Image.Image], path: Path, times: Sequence[int] = ()) -> None:
    """Writes an animated GIF file atomically, which repeats.

    Args:
        times: the milliseconds of each frame; empty: it pauses on its last frame.
    """
    # All frames have one palette; otherwise the colours would flicker.
    palette = overview(frames).quantize(256, dither=Image.Dither.NONE)
    first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [*times] or [FRAME_TIME] * (len(frames) - 1) + [LAST_FRAME_TIME]
    with atomic_writer(path) as file:
        first.save(file, format="GIF", save_all=True, append_images=rest, duration=times, loop=0)


def save_frames(frames: Sequence[Image.Image], stem: Path) -> list[Path]:
    """Writes frames to files, and returns the files; `stem` is their path without the extension.

    A single frame becomes a PNG file. Several become an animated GIF file, and a PNG file with four of them.
    """
    png, gif = stem.with_suffix(".png"), stem.with_suffix(".gif")
    if len(frames) == 1:
        save_png(frames[0], png)
        return [png]
    save_png(overview(frames), png)
    save_gif(frames, gif)
    return [png, gif]
