"""Animated GIF files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ganlab.filesystem import atomic_writer

FRAME_TIME, LAST_FRAME_TIME = 90, 2500  # milliseconds for which each frame, and the last frame, is shown


def overview(frames: Sequence[Image.Image]) -> Image.Image:
    """Four frames, evenly spaced from the first to the last, as one image of two rows and two columns."""
    last = len(frames) - 1
    chosen = [np.asarray(frames[round(i * last / 3)]) for i in range(4)]
    return Image.fromarray(np.vstack([np.hstack(chosen[:2]), np.hstack(chosen[2:])]))


def save_gif(frames: Sequence[Image.Image], path: Path) -> None:
    """Writes an animated GIF file atomically. The animation repeats, and pauses on its last frame."""
    # All frames have one palette; otherwise the colours would flicker.
    palette = overview(frames).quantize(256, dither=Image.Dither.NONE)
    first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [FRAME_TIME] * (len(frames) - 1) + [LAST_FRAME_TIME]
    with atomic_writer(path) as file:
        first.save(file, format="GIF", save_all=True, append_images=rest, duration=times, loop=0)
