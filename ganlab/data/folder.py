"""Data sets of a folder of images: for training, with sub-folders as classes, and for evaluation."""

import os
from collections.abc import Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Literal, Unpack, cast

from PIL import ImageColor

from ganlab.core.errors import require
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, DataSettings, check_image_settings
from ganlab.data.composition import Sources
from ganlab.data.conditions import read_vectors
from ganlab.data.files import ImageFiles
from ganlab.data.image import REPAIR, ImageSpec, decode_image, read_header
from ganlab.data.listing import (
    existing_folder,
    find_pairs,
    find_splits,
    list_classes,
    list_images,
    list_partners,
)

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")  # Pillow's modes of grey images


class Folder(Data):
    """Images of any size in a folder.

    If the folder contains a training folder and a test folder under usual names, such as `train` and `test`,
    these are the splits. The sub-folders of a split are the classes, sorted by name, or by number if all
    names are numbers. The images of a class may be at any depth. A split that contains only images has no
    labels. Hidden files are ignored. Links to folders are followed, and every folder is read once.

    Args:
        root: the folder.
        test_root: the folder of the test split; None: the test folder in `root`, if it contains one.
        channels: the number of channels, 1 for grey or 3 for colour.
        height: the height of a sample in pixels.
        width: the width of a sample in pixels.
        crop: `none` resizes images to the size of a sample, whatever their aspect ratio. `center` and
            `random` resize them so that they just cover a sample, and then crop them.
        flip: whether half of the training images are mirrored.
        background: the colour behind transparent pixels, a name or #rrggbb.
        white: the value that is white in files of more than 8 bits.
        on_corrupt: `error` refuses unreadable files by name. `skip` uses the next readable file instead of an
            unreadable one, and ignores files without the suffix of an image. The paths of both kinds of file
            are appended to `skipped`.
        in_memory: whether images are held in memory; this changes no batch. `auto` holds them if they take at
            most `memory_limit` bytes.
        memory_limit: the limit of `in_memory=auto` in bytes, for all splits together.
        num_workers: the number of processes that read files; 0: the training process reads them.
        direction: the images are pairs. `AtoB`: A is the condition of B, `BtoA`: B is that of A; `height` and
            `width` are those of one of them. They are in folders trainA, trainB and perhaps testA, testB,
            under equal names; or side by side in each file, A on the left. None: a file is one image.
            `condition` must be an image of the shape of a sample for pairs.
        pairs: `a_to_b` or `b_to_a`, the direction in configs of earlier runs.
        jitter: training images are resized to this number of pixels more than a sample, and then cropped at
            random. The other splits, and training images for evaluation, are not moved.
        vectors: a file with a vector for each image, see `ganlab.data.conditions.read_vectors`, which are the
            conditions. It names an image by the path from `root`. None: there are no vectors.

    Raises:
        ConfigError: there are no images, or a setting contradicts the others or the folder. If a file is
            unreadable, the error is raised when it is read.
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
        direction: Literal["AtoB", "BtoA"] | None = None,
        vectors: str | None = None,
        pairs: Literal["a_to_b", "b_to_a"] | None = None,
        jitter: Whole = 0,
        **settings: Unpack[DataSettings],
    ):
        if pairs is not None:
            direction = "AtoB" if pairs == "a_to_b" else "BtoA"
        spec = ImageSpec(channels, height, width, crop, flip, background, white, direction, jitter)
        condition, shape = settings.get("condition"), (channels, height, width)
        told = condition and (condition.kind, condition.shape)
        expected = told if vectors and direction is None else direction and ("image", shape)
        remedy = "choose data=paired_folder, data=folder_and_vectors, or data=folder for images alone"
        require(told == expected, "contradicts the data", remedy, ".direction", direction)
        require_opaque(background)
        pairs_of_folders = {} if direction is None else find_pairs(root, test_root, direction)
        folders = {split: pair[0] for split, pair in pairs_of_folders.items()} or find_splits(root, test_root)
        classes = list_classes(folders["train"])
        if settings["num_classes"] is None:
            settings["num_classes"] = len(classes) or None
        check_image_settings(settings, shape, len(classes) or None)
        self.skipped: list[str] = []
        # `list_images` and `ImageFiles` append the paths of the files that they skip to this list. If they
        # get None instead, they refuse such files.
        skipped = self.skipped if on_corrupt == "skip" else None
        remedy = "repair or remove it, or set data.on_corrupt=skip"
        files = {}
        for split, folder in folders.items():
            paths, labels = list_images(folder, classes, skipped)
            partners = list_partners(paths, *pair, skipped) if (pair := pairs_of_folders.get(split)) else None
            own = spec if split == "train" else spec._replace(jitter=0)
            files[split] = ImageFiles(paths, labels, own, num_workers, skipped, remedy, partners)
        if vectors:
            attach_vectors(files, vectors, root)
        if in_memory == "auto":
            # Random crops need the uncropped images, which are estimated to be twice as large.
            factor = 2 if crop == "random" else 1
            decoded = prod((spec.shape[0], height + jitter, width + jitter))
            in_memory = sum(map(len, files.values())) * factor * decoded <= memory_limit

        def load(chosen: Sources) -> Sources:
            files = cast(dict[str, ImageFiles], chosen)
            return {split: part.load_into_memory() for split, part in files.items()} if in_memory else files

        super().__init__(**settings, sources=files, class_names=classes or None, load=load)


def attach_vectors(files: Mapping[str, ImageFiles], path: str, root: str) -> None:
    """Gives each image of each split its vector; refuses a file that lacks one or names an image twice."""
    known, vectors = read_vectors(".vectors", path)
    row_of = {name: row for row, name in enumerate(known)}
    require(len(row_of) == len(known), "names an image twice", "remove one of them", ".vectors", path)
    for part in files.values():
        names = [os.path.relpath(file, Path(root).expanduser()) for file in part.files]
        missing = next((name for name in names if name not in row_of), None)
        reason = f"does not name {missing}, by its path from data.root"
        require(missing is None, reason, "add it, or remove the image", ".vectors", path)
        part.vectors = vectors[[row_of[name] for name in names]]


def require_opaque(colour: str) -> None:
    """Raises `ConfigError` unless `colour` is the name of an opaque colour, or #rrggbb."""
    is_opaque = False
    with suppress(ValueError):  # a value that is no text, such as a number, is the name of no colour
        is_opaque = len(ImageColor.getrgb(str(colour))) == 3  # with an alpha channel, there are 4 values
    require(is_opaque, "is not an opaque colour", "choose one, such as white", ".background", colour)


class EvaluationFolder(Data):
    """Images for evaluation. They must have one size, because they are not resized. The split is `train`.

    Args:
        key: the key of the setting whose value is `root`, for errors.
        root: the folder. It contains either images, or sub-folders with images at any depth. Files without
            the suffix of an image are skipped.
        channels: the number of channels, 1 for grey or 3 for colour; None: 3 if any image has colours,
            otherwise 1. With 3, a grey image gets three equal channels. An image with three equal channels
            counts as grey.

    Raises:
        ConfigError: there are no images, an image is unreadable, two images differ in size, or an image has
            colours although `channels` is 1.
    """

    def __init__(self, key: str, root: str, channels: int | None = None):
        folder = existing_folder(key, root)
        # Sub-folders are classes, as in training, although this data set uses no labels. The list of skipped
        # paths is dropped.
        files, labels = list_images(folder, list_classes(folder), skipped=[])
        headers = {file: read_header(file) for file in files}
        (first, (height, width, _)), *others = headers.items()
        for file, (file_height, file_width, _) in others:
            reason = f"{file} is {file_width}x{file_height}, but {first} is {width}x{height}"
            remedy = "resize them, or put the images of each size into a separate folder"
            require((file_height, file_width) == (height, width), reason, remedy)
        not_grey = (file for file, (_, _, mode) in headers.items() if mode not in GREY_MODES)
        coloured = next((file for file in not_grey if has_colours(file, height, width)), None)
        reason = f"{coloured} has colours, and the images it is compared with have none"
        require(channels != 1 or coloured is None, reason, "make both grey, or both coloured")
        channels = channels or (1 if coloured is None else 3)
        spec = ImageSpec(channels, height, width)
        source = ImageFiles(files, labels, spec, num_workers=0, skipped=None, remedy=REPAIR)
        super().__init__(spec.shape, num_classes=None, range=(0, 1), batch_size=1, sources={"train": source})


def has_colours(file: Path, height: int, width: int) -> bool:
    """Whether the three channels of an image differ anywhere."""
    pixels = decode_image(file, ImageSpec(3, height, width), warnings={})
    return bool((pixels != pixels[:1]).any())
