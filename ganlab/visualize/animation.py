"""Animated GIF files."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ganlab.filesystem import atomic_writer

PAUSE, LAST_PAUSE = 90, 2500  # milliseconds that a frame is shown, and the last frame


def overview(frames: Sequence[Image.Image]) -> Image.Image:
    """Four of the frames, evenly spaced from the first to the last, in reading order on one sheet."""
    width, height = frames[0].size
    canvas = Image.new("RGB", (2 * width, 2 * height), "white")
    for i in range(4):
        frame = frames[round(i * (len(frames) - 1) / 3)]
        canvas.paste(frame, (i % 2 * width, i // 2 * height))
    return canvas


def save_gif(frames: Sequence[Image.Image], path: Path) -> None:
    """Writes an animated GIF file atomically; it repeats, and pauses on its last frame."""
    # One palette for all frames, or the colours would flicker.
    palette = overview(frames).quantize(256, dither=Image.Dither.NONE)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    pauses = [PAUSE] * (len(frames) - 1) + [LAST_PAUSE]
    with atomic_writer(path) as file:
        flat[0].save(file, format="GIF", save_all=True, append_images=flat[1:], duration=pauses, loop=0)
