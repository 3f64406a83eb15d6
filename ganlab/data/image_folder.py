"""A folder of images as they are, to be measured and not trained on."""

from __future__ import annotations

from pathlib import Path

from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.data.files import Files
from ganlab.data.image import Look, Unreadable, decode, opened, orientation
from ganlab.data.listing import class_names, listing

GREY = ("1", "L", "LA", "I", "I;16", "I;16B")
REMEDY = "mend it, or remove it"  # of a file that cannot be read
TURNED = (5, 6, 7, 8)  # orientations of a camera that lay on its side


class ImageFolder(Data):
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
        source = Files(found, Look(channels, height, width, "none", False), 0, None)
        source.remedy = REMEDY
        super().__init__((channels, height, width), None, (0.0, 1.0), 1, {"train": source})


def tinted(file: Path, size: tuple[int, int]) -> bool:
    """Whether the channels of an image differ anywhere; of what cannot be read its reader will tell."""
    pixels = decode(file, Look(3, *size, "none", False), {})
    return not isinstance(pixels, str) and bool((pixels != pixels[:1]).any())


def header(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height of an image held upright, and PIL's name of what a pixel is; no pixel is read."""
    try:
        with opened(file) as image:
            turned = orientation(image) in TURNED
            return (image.size[::-1] if turned else image.size), image.mode
    except Unreadable as error:
        raise ConfigError(f"{error}: {REMEDY}") from error
