"""python scripts/label_maps.py <folder>: writes photos with label maps, which a segmenter finds in them.

A label map has five classes: a ground and three rectangles, each in one of the classes. In its photo, each
class is a grating of an orientation of its own, whose phase is random, with noise. So the mean of all
photos of a label map is grey: a translator that only learns the mean, or the median, shows no class.

The folder gets trainA, trainB, testA and testB for data=paired_folder: A are photos and B label maps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.array([[0, 0, 85], [255, 0, 0], [0, 255, 0], [255, 255, 0], [0, 170, 255]], np.uint8)
PERIOD = 4.0  # of a grating, in pixels
CONTRAST, NOISE = 0.6, 0.05  # the amplitude of a grating, and the standard deviation of noise, in [-1, 1]


def label_map(rng: np.random.Generator, side: int) -> np.ndarray:
    """Classes [side, side]: a ground and three rectangles, which may cover each other."""
    classes = np.full((side, side), rng.integers(len(COLOURS)))
    for _ in range(3):
        height, width = rng.integers(side // 4, side // 2 + 1, 2)
        top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
        classes[top : top + height, left : left + width] = rng.integers(len(COLOURS))
    return classes


def photo(rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
    """A photo of a label map, [side, side] in [-1, 1]."""
    y, x = np.indices(classes.shape)
    gratings = []
    for k in range(len(COLOURS)):
        angle, phase = np.pi * k / len(COLOURS), 2 * np.pi * rng.random()
        across = x * np.cos(angle) + y * np.sin(angle)
        gratings.append(CONTRAST * np.sin(2 * np.pi * across / PERIOD + phase))
    image = np.choose(classes, gratings)
    return (image + NOISE * rng.standard_normal(classes.shape)).clip(-1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--train", type=int, default=2000, help="number of training pairs")
    parser.add_argument("--test", type=int, default=256, help="number of test pairs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    for split, count in (("train", options.train), ("test", options.test)):
        for side in "AB":
            (options.folder / f"{split}{side}").mkdir(parents=True, exist_ok=True)
        for i in range(count):
            classes = label_map(rng, options.side)
            levels = ((photo(rng, classes) + 1) * 127.5).round().astype(np.uint8)
            Image.fromarray(levels).save(options.folder / f"{split}A" / f"{i:04d}.png")
            Image.fromarray(COLOURS[classes]).save(options.folder / f"{split}B" / f"{i:04d}.png")


if __name__ == "__main__":
    main()
