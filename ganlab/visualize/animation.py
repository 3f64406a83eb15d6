"""Animated GIFs."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ganlab.filesystem import atomic_writer

PAUSE = 90  # milliseconds a frame
LAST = 2500  # milliseconds of the last frame


def overview(frames: Sequence[Image.Image]) -> Image.Image:
    """Four of the frames, evenly chosen from the first to the last, in reading order on one sheet."""
    width, height = frames[0].size
    canvas = Image.new("RGB", (2 * width, 2 * height), "white")
    for i in range(4):
        image = frames[round(i * (len(frames) - 1) / 3)]
        canvas.paste(image, (i % 2 * width, i // 2 * height))
    return canvas


def save_gif(frames: Sequence[Image.Image], path: Path) -> None:
    """Writes an animated GIF in one step; it is shown over and over, and rests on its last frame."""
    # One palette for all frames, or the colours would flicker.
    palette = overview(frames).quantize(256, dither=Image.Dither.NONE)
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in frames]
    pauses = [PAUSE] * (len(frames) - 1) + [LAST]
    with atomic_writer(path) as file:
        flat[0].save(file, format="GIF", save_all=True, append_images=flat[1:], duration=pauses, loop=0)
