"""Folders of images: one to train on, whose sub-folders are the classes, and one to evaluate."""

from pathlib import Path
from typing import Literal, Unpack

from PIL import ImageColor

from ganlab.core.errors import ConfigError, printable
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, Declared, verify_images
from ganlab.data.files import ImageFiles
from ganlab.data.image import SIDEWAYS, ImageSpec, Unreadable, decode_image, open_image, orientation
from ganlab.data.listing import class_names, existing_folder, find_splits, list_images

GREY = ("1", "L", "LA", "I", "I;16", "I;16B")  # modes of PIL
MEND = "mend it, or remove it"  # remedy for an unreadable file


class Folder(Data):
    """Images of any size in a folder, which may consist of a training and a test folder of any usual names.

    Sub-folders are the classes, sorted, as numbers if all their names are; files may be at any depth below
    them. A folder that contains only images has no labels. Hidden files are ignored. Links to folders are
    followed, and every folder is read once.

    Args:
        root: the folder.
        test_root: a folder of the test split; None: that of `root`, if there is one.
        channels: 1 grey, 3 colour.
        height: of a sample, pixels.
        width: of a sample, pixels.
        crop: none, images are resized whatever their aspect ratio; center or random, they are resized to
            cover a sample and then cropped.
        flip: mirror half of the training images.
        background: the colour behind transparent pixels, a name or #rrggbb.
        white: the value that is white in files of more than 8 bits.
        on_corrupt: error, an unreadable file is refused by name; skip, the next readable one replaces it, and
            its path is appended to `skipped`: at once if its suffix is not that of an image, otherwise when
            it is read.
        in_memory: whether images are held in memory, which changes no batch; auto: if they take no more
            than `memory_limit` bytes.
        num_workers: processes that read files; 0: the training process reads them.

    Raises:
        ConfigError: there are no images, a declared setting contradicts the others, or, while images are
            read, a file is unreadable.
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
        **declared: Unpack[Declared],
    ):
        spec = ImageSpec(channels, height, width, crop, flip, background, white)
        refuse_transparent(background)
        folders = find_splits(root, test_root)
        classes = class_names(folders["train"])
        if declared["num_classes"] is None:
            declared["num_classes"] = len(classes) or None
        verify_images(declared, (channels, height, width), len(classes) or None)
        self.skipped: list[str] = []
        skipped = self.skipped if on_corrupt == "skip" else None
        remedy = "mend or remove it, or set data.on_corrupt=skip"
        files = {
            split: ImageFiles(*list_images(folder, classes, skipped), spec, num_workers, skipped, remedy)
            for split, folder in folders.items()
        }
        if in_memory == "auto":
            crops = 2 if crop == "random" else 1  # an estimate: an image has the room of two crops
            in_memory = sum(map(len, files.values())) * crops * channels * height * width <= memory_limit
        sources = {split: source.in_memory() if in_memory else source for split, source in files.items()}
        super().__init__(**declared, sources=sources, origins=files)
        # In a config, "${" would begin an interpolation.
        self.class_names = tuple(printable(name).replace("${", "$ {") for name in classes) or None


def refuse_transparent(colour: str) -> None:
    """Raises `ConfigError` unless a text is an opaque colour, by name or as #rrggbb."""
    try:
        _red, _green, _blue = map(int, ImageColor.getrgb(colour))
    except (ValueError, TypeError) as error:
        reason = "is not an opaque colour"
        raise ConfigError(reason, "choose one, such as white", ".background", colour) from error


class EvaluationFolder(Data):
    """Images to be evaluated, at their own size, which is one for all; they are the split `train`.

    Images at any depth belong to it, and other files are skipped, by their suffix.

    Args:
        key: the setting that names the folder.
        root: the folder.
        channels: 1 grey, 3 colour; None: 3 if any image has colours. Grey images get three equal channels,
            and images of three equal channels count as grey.

    Raises:
        ConfigError: there are no images, one is unreadable, they differ in size, or have colours that one
            channel would lose.
    """

    def __init__(self, key: str, root: str, channels: int | None = None):
        home = existing_folder(key, root)
        found, labels = list_images(home, class_names(home), skipped=[])
        first = found[0]
        headers = {file: header(file) for file in found}
        (width, height), _ = headers[first]
        for file, (size, _) in headers.items():
            if size != (width, height):
                reason = f"{file} is {size[0]}x{size[1]}, but {first} is {width}x{height}"
                raise ConfigError(reason, "resize them, or put each size in a folder of its own")
        candidates = (file for file, (_, mode) in headers.items() if mode not in GREY)
        coloured = next((file for file in candidates if has_colours(file, height, width)), None)
        if channels == 1 and coloured is not None:
            reason = f"{coloured} has colours, and the images it is compared with have none"
            raise ConfigError(reason, "make both grey, or both coloured")
        channels = channels or (1 if coloured is None else 3)
        spec = ImageSpec(channels, height, width)
        source = ImageFiles(found, labels, spec, num_workers=0, skipped=None, remedy=MEND)
        super().__init__((channels, height, width), None, (0, 1), 1, {"train": source})


def has_colours(file: Path, height: int, width: int) -> bool:
    """Whether the channels of an image differ anywhere; False if it is unreadable."""
    try:
        pixels = decode_image(file, ImageSpec(3, height, width), {})
    except Unreadable:
        return False
    return bool((pixels != pixels[:1]).any())


def header(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height of an image held upright, and its mode in PIL; reads no pixels."""
    try:
        with open_image(file) as image:
            return (image.size[::-1] if orientation(image) in SIDEWAYS else image.size), image.mode
    except Unreadable as error:
        raise ConfigError(str(error), MEND) from error
