"""A folder of images as they are, to be measured and not trained on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ganlab.data.base import Data
from ganlab.data.files import Files
from ganlab.data.listing import class_names, existing, listing
from ganlab.data.look import Look
from ganlab.errors import Refused

GREY = ("1", "L", "LA", "I", "I;16", "I;16B")


class Gallery(Data):
    """The images of a folder, however deep they lie below it, all of one size, which is kept; split train.

    channels: 1 grey, 3 colour; None: as the first image has them.

    Raises:
        Refused: there are no images, one cannot be read, or they are of several sizes.
    """

    def __init__(self, root: str, channels: int | None = None):
        home = existing("root", root)
        found = listing(home, class_names(home), None)
        files = found.files
        (width, height), mode = header(files[0])
        for file in files:
            if (size := header(file)[0]) != (width, height):
                raise Refused(
                    f"{file} is {size[0]}x{size[1]}, but {files[0]} is {width}x{height}: metrics want images "
                    "of one size; resize them, or keep them in folders of their own"
                )
        channels = channels or (1 if mode in GREY else 3)
        source = Files(found, Look(channels, height, width, "none", False), 0, None)
        super().__init__((channels, height, width), None, (0.0, 1.0), 1, {"train": source})


def header(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height of an image, and PIL's name of what a pixel is; its pixels are not read."""
    try:
        with Image.open(file) as image:
            return image.size, image.mode
    except OSError as error:
        raise Refused(f"{file} cannot be read as an image: remove it") from error
