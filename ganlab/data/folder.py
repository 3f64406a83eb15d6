"""Any folder of images: its sub-folders are the classes, held in memory where it fits, else read as we go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from PIL import ImageColor

from ganlab.core.errors import ConfigError, printable
from ganlab.core.validation import Count, Whole, check_declared, check_image_range
from ganlab.data.base import Data
from ganlab.data.files import Files
from ganlab.data.image import Look
from ganlab.data.listing import class_names, find_splits, listing


class Folder(Data):
    """Images of any size in `root`, or in its training and test folders, by any name, if it holds just two.

    A folder of sub-folders has their names as classes, sorted, as numbers where all are, however deep the
    files lie below them; one of images only has no labels. Hidden files are ignored. Links to folders are
    followed, and a folder to which several lead is seen once. Where an image is transparent the `background`
    is seen; `white` is the value that is white in files of more than 8 bits a value. Whether the images are
    held in memory (where they take no more than `memory_limit` bytes, if `in_memory` is auto) changes no
    batch; `num_workers` processes read the files. A file that is no readable image is refused by name
    (`on_corrupt` is error), or its place is taken by the next good one (skip) and its path appended to
    `skipped`: files that do not look like images at once, others when they are read.

    Raises:
        ConfigError: there are no images, a setting is not known, `shape` or `num_classes` contradict the
            rest, or, while reading, a file that cannot be read.
    """

    def __init__(
        self,
        root: str,
        test_root: str | None,
        channels: Literal[1, 3],
        height: Count,
        width: Count,
        crop: Literal["none", "center", "random"],
        flip: bool,
        background: str,
        white: Count,
        on_corrupt: Literal["error", "skip"],
        in_memory: bool | Literal["auto"],
        memory_limit: Whole,
        num_workers: Whole,
        shape: Sequence[int],
        num_classes: int | None,
        range: Sequence[float],
        batch_size: Count,
    ):
        check_declared("shape", shape, (channels, height, width))
        refuse_background(background)
        value_range = check_image_range(range)
        self.skipped: list[str] = []
        skipped = self.skipped if on_corrupt == "skip" else None
        folders = find_splits(root, test_root)
        classes = class_names(folders["train"])
        if num_classes is not None:
            check_declared("num_classes", num_classes, len(classes) or None)
        listings = {name: listing(folder, classes, skipped) for name, folder in folders.items()}
        look = Look(channels, height, width, crop, flip, background, white)
        files = {name: Files(found, look, num_workers, skipped) for name, found in listings.items()}
        if in_memory == "auto":
            in_memory = sum(source.num_bytes for source in files.values()) <= memory_limit
        sources = {name: source.held() if in_memory else source for name, source in files.items()}
        super().__init__(shape, len(classes) or None, value_range, batch_size, sources, origins=files)
        # In a config "${" would begin an interpolation.
        self.class_names = tuple(printable(name).replace("${", "$ {") for name in classes) or None


def refuse_background(colour: str) -> None:
    """Refuses what is no opaque colour, by name or as #rrggbb."""
    try:
        _red, _green, _blue = map(int, ImageColor.getrgb(colour))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"data.background={colour} is no colour: set it to one, as white") from error
