"""Data sets of a folder of images: for training, with sub-folders as classes, and for evaluation."""

import os
import re
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Literal, Unpack

import torch
from PIL import ImageColor
from torch import Tensor

from ganlab.core.errors import ConfigError, escape_unprintable, require
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, DataSettings, check_image_settings
from ganlab.data.files import ImageFiles
from ganlab.data.image import REPAIR, ImageSpec, decode_image, read_header

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")  # Pillow's modes of grey images
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# A name of a split consists of a prefix, a word for the split and a suffix, as in "mnist_train_images".
SPLIT_NAME = re.compile(
    r"(?P<prefix>.+[_ .-])?(?P<word>train(?:ing|val)?|test(?:ing)?|val(?:id(?:ation)?)?"
    r"|dev(?:elopment)?|eval(?:uation)?|hold[_ -]?out)"
    r"(?P<suffix>[_ .-]?(?:\d+(?:px)?|[ab]|set|split|data|images?|imgs?)?)",
    re.IGNORECASE,
)
Listing = tuple[list[Path], Tensor | None]  # N image files, and their labels [N] int64; None: no classes


class Folder(Data):
    """Images of any size in a folder.

    If the folder contains a training folder and a test folder under usual names (`SPLIT_NAME`), they are the
    splits. The sub-folders of a split are the classes, sorted by name, or by number if all names are numbers.
    The images of a class may be at any depth. A split that contains only images has no labels. Hidden files
    are ignored. Links to folders are followed, and every folder is read once.

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
            unreadable one, and appends the path of the unreadable one to `skipped` when it is read. With
            `skip`, files without the suffix of an image are ignored, and their paths are appended when the
            folder is listed.
        in_memory: whether images are held in memory; this changes no batch. `auto` holds them if they take at
            most `memory_limit` bytes.
        memory_limit: the limit of `in_memory=auto` in bytes, for all splits together.
        num_workers: the number of processes that read files; 0: the training process reads them.

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
        **settings: Unpack[DataSettings],
    ):
        spec = ImageSpec(channels, height, width, crop, flip, background, white)
        require_opaque(background)
        folders = find_splits(root, test_root)
        classes = list_classes(folders["train"])
        if settings["num_classes"] is None:
            settings["num_classes"] = len(classes) or None
        check_image_settings(settings, (channels, height, width), len(classes) or None)
        self.skipped: list[str] = []
        # The functions below append the paths of skipped files to a list. With None, they refuse such files.
        skipped = self.skipped if on_corrupt == "skip" else None
        remedy = "repair or remove it, or set data.on_corrupt=skip"
        files = {
            split: ImageFiles(*list_images(folder, classes, skipped), spec, num_workers, skipped, remedy)
            for split, folder in folders.items()
        }
        if in_memory == "auto":
            # Random crops need the uncropped images, which are estimated to be twice as large.
            factor = 2 if crop == "random" else 1
            in_memory = sum(map(len, files.values())) * factor * channels * height * width <= memory_limit
        sources = {split: part.load_into_memory() for split, part in files.items()} if in_memory else files
        super().__init__(**settings, sources=sources, fingerprint_sources=files)
        # The names are stored in the config, in which "${" would begin an interpolation.
        self.class_names = tuple(escape_unprintable(name).replace("${", "$ {") for name in classes) or None


def require_opaque(colour: str) -> None:
    """Raises `ConfigError` unless `colour` is the name of an opaque colour, or #rrggbb."""
    is_opaque = False
    with suppress(ValueError, TypeError):
        is_opaque = len(ImageColor.getrgb(colour)) == 3  # with an alpha channel, there are 4 values
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
        # Listed as for training, with sub-folders as classes. The list of skipped paths is not used further.
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


def find_splits(root: str, test_root: str | None) -> dict[str, Path]:
    """The folder of the split `train` and, if there is a test folder, that of `test`.

    Args:
        root: a folder that contains either classes or images, or a training and a test folder.
        test_root: the test folder, if it is not in `root`.

    Raises:
        ConfigError: a folder is missing, or has sub-folders that are splits instead of classes.
    """
    parent = existing_folder(".root", root)
    folders, _, _ = list_folder(parent)
    splits = {folder.name: match for folder in folders if (match := SPLIT_NAME.fullmatch(folder.name))}
    name_of_role = {split_role(match): name for name, match in splits.items()}
    suffixes = {match["suffix"] for match in splits.values()}  # such as "A" of "trainA"
    if len(folders) == 2 and name_of_role.keys() == {"train", "test"} and len(suffixes) == 1:
        reason = f"root={root} also has a test split, {name_of_role['test']}/"
        require(test_root is None, reason, "set it to null", ".test_root", test_root)
        return {split: parent / name_of_role[split] for split in ("train", "test")}
    # Any other splits must not be used as classes, or a model would learn to distinguish training images from
    # validation images. So two cases are refused: (1) all sub-folders have names of splits; (2) a training
    # split and a different split are among other folders. Case (1) has an exception: if all names have
    # prefixes and the same role, such as blood_test and urine_test, the folders are classes.
    only_splits = len(folders) > 0 and len(splits) == len(folders)
    are_classes = len(name_of_role) == 1 and all(match["prefix"] for match in splits.values())
    if (only_splits and not are_classes) or ("train" in name_of_role and len(name_of_role) > 1):
        reason = f"contains {'only the' if only_splits else 'the'} splits {', '.join(sorted(splits))}"
        raise ConfigError(reason, "set it to one of them, and test_root to another or to null", ".root", root)
    for folder in folders:
        matches = [SPLIT_NAME.fullmatch(entry.name) for entry in os.scandir(folder) if entry.is_dir()]
        roles = {split_role(match) for match in matches if match}
        reason = f"{folder} contains splits, not images of a class"
        require(len(roles) < 2, reason, "set data.root to it, or to one of the splits")
    if test_root is None:
        return {"train": parent}
    return {"train": parent, "test": existing_folder(".test_root", test_root)}


def split_role(name: re.Match[str]) -> str:
    """The role of a split: `train`, `test`, or at most the first four letters of another word.

    The cut merges `test` and `testing`. It does not merge `val` and `validation`, which is harmless: roles
    other than `train` and `test` only help to tell splits from classes.
    """
    word = name["word"].lower()
    return "train" if word.startswith("train") else word[:4]


def existing_folder(key: str, folder: str) -> Path:
    """The path of a folder, which must exist.

    Args:
        key: the key of the setting whose value is the folder, for the error. A key with a dot at its start,
            such as ".root", is a setting of the data.

    Raises:
        ConfigError: there is no such folder.
    """
    path = Path(folder).expanduser()
    require(path.is_dir(), "is not a folder", "set it to a folder of images", key, folder)
    return path


def list_folder(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """The sub-folders, the images and the other files in a folder, each sorted.

    Hidden files, such as .DS_Store, are left out. Links to this folder, or to a folder that contains it, are
    left out too, because they would be followed without end.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be listed: {error.strerror}") from error
    target = folder.resolve()
    folders = [path for path in paths if path.is_dir() and not target.is_relative_to(path.resolve())]
    files = [path for path in paths if not path.is_dir()]
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    others = [file for file in files if file.suffix.lower() not in SUFFIXES]
    return folders, images, others


def list_classes(folder: Path) -> list[str]:
    """The names of the sub-folders, sorted (by number if all are numbers); empty if there are only images.

    Raises:
        ConfigError: the folder contains both images and folders.
    """
    folders, images, _ = list_folder(folder)
    classes = [path.name for path in folders]
    if classes and images:
        reason = f"{folder} contains both images ({images[0].name}) and folders ({classes[0]})"
        raise ConfigError(reason, "keep only images or only folders")
    return sorted(classes, key=int) if all(name.isdecimal() for name in classes) else classes


def list_images(folder: Path, classes: list[str], skipped: list[str] | None) -> Listing:
    """The images of a split, sorted by class and path, and their labels.

    Args:
        folder: the folder of the split.
        classes: the classes of the training split, in the order of their labels.
        skipped: a list to which the paths of files without the suffix of an image are appended, with
            unprintable characters escaped. None: such files are refused.

    Raises:
        ConfigError: the classes differ from those of training, a folder contains no images, or a file is
            refused.
    """
    names = list_classes(folder)
    if not set(names) <= set(classes) or (classes and not names):
        raise ConfigError(f"the classes of {folder} differ from those of training", "make them equal")
    visited: set[Path] = set()
    # With classes, `folder` itself has no images. It is still read: its other files are skipped or refused,
    # and it counts as visited, so that a link to it is not followed.
    images = read_folder(folder, visited, skipped, deep=False)
    groups = {folder / name: read_folder(folder / name, visited, skipped) for name in names}
    for group, files in (groups or {folder: images}).items():
        reason = f"{group} contains no images ({' '.join(SUFFIXES)}), or only those of a different folder"
        require(files, reason, "add some, or remove the folder")
    if not names:
        return images, None
    labels = [classes.index(group.name) for group, files in groups.items() for _ in files]
    return list(chain(*groups.values())), torch.tensor(labels)


def read_folder(folder: Path, visited: set[Path], skipped: list[str] | None, deep: bool = True) -> list[Path]:
    """The images of a folder, sorted, and then those below it; skips or refuses its other files.

    Args:
        visited: the folders that have been read, which are not read again. Each folder that is read is added.
        skipped: as in `list_images`.
        deep: whether sub-folders are read too.
    """
    target = folder.resolve()
    if target in visited:
        return []
    visited.add(target)
    subfolders, images, others = list_folder(folder)
    if skipped is not None:
        skipped += [escape_unprintable(str(file)) for file in others]
    elif others:
        raise ConfigError(f"{others[0]} is not an image", "remove it, or set data.on_corrupt=skip")
    below = (read_folder(subfolder, visited, skipped) for subfolder in (subfolders if deep else []))
    return [*images, *chain(*below)]
