"""Any folder of images: its sub-folders are the classes, held in memory where it fits, else read as we go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import ImageColor

from ganlab.core.errors import ConfigError, printable
from ganlab.core.validation import Count, Whole, check_declared, check_image_range
from ganlab.data.base import Data
from ganlab.data.files import Files
from ganlab.data.image import ImageSpec, Unreadable, decode, opened, orientation
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
        look = ImageSpec(channels, height, width, crop, flip, background, white)
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


GREY = ("1", "L", "LA", "I", "I;16", "I;16B")
REMEDY = "mend it, or remove it"  # of a file that cannot be read
TURNED = (5, 6, 7, 8)  # orientations of a camera that lay on its side


class EvaluationFolder(Data):
    """The images of a folder, however deep they lie below it, all of one size, which is kept; split train.

    Args:
        name: of the setting that names the folder, for messages.
        root: the folder. What is no image, by its ending, is passed over.
        channels: 1 grey, 3 colour; None: 3 where any image has colours. Grey ones get three equal channels,
            and three equal channels are grey.

    Raises:
        ConfigError: there are no images, one cannot be read, they are of several sizes, or have colours that
            one channel would lose.
    """

    def __init__(self, name: str, root: str, channels: int | None = None):
        home = Path(root).expanduser()
        if not home.is_dir():
            raise ConfigError(f"{name}={root} is no folder: give a folder of images")
        others: list[str] = []
        found = listing(home, class_names(home), others)
        files = found.files
        (width, height), _ = header(files[0])
        coloured = None
        for file in files:
            size, mode = header(file)
            if size != (width, height):
                raise ConfigError(
                    f"{file} is {size[0]}x{size[1]}, but {files[0]} is {width}x{height}: metrics want images "
                    "of one size; resize them, or keep them in folders of their own"
                )
            if coloured is None and mode not in GREY and tinted(file, (height, width)):
                coloured = file
        if channels == 1 and coloured is not None:
            raise ConfigError(
                f"{coloured} has colours, and what it is measured against has none: make both grey, or both "
                "coloured"
            )
        channels = channels or (1 if coloured is None else 3)
        source = Files(found, ImageSpec(channels, height, width, "none", False), 0, None)
        source.remedy = REMEDY
        super().__init__((channels, height, width), None, (0.0, 1.0), 1, {"train": source})


def tinted(file: Path, size: tuple[int, int]) -> bool:
    """Whether the channels of an image differ anywhere; of what cannot be read its reader will tell."""
    pixels = decode(file, ImageSpec(3, *size, "none", False), {})
    return not isinstance(pixels, str) and bool((pixels != pixels[:1]).any())


def header(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height of an image held upright, and PIL's name of what a pixel is; no pixel is read."""
    try:
        with opened(file) as image:
            turned = orientation(image) in TURNED
            return (image.size[::-1] if turned else image.size), image.mode
    except Unreadable as error:
        raise ConfigError(f"{error}: {REMEDY}") from error
