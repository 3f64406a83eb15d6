"""Data sets of a folder of images: for training, with sub-folders as classes, and for evaluation."""

import os
import re
from itertools import chain
from pathlib import Path
from typing import Literal, Unpack

import torch
from PIL import ImageColor
from torch import Tensor

from ganlab.core.errors import UNSET, ConfigError, escape_unprintable, require
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, DataSettings, check_image_settings
from ganlab.data.files import ImageFiles
from ganlab.data.image import SIDEWAYS, ImageSpec, Unreadable, decode_image, open_image, orientation

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")  # in PIL
REPAIR = "repair it, or remove it"  # the remedy for an unreadable file
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# A name of a split: a prefix, the kind of split (group 1) and a suffix (group 2), as in "mnist_train_images".
SPLIT = re.compile(
    r"(?:.+[_ .-])?"
    r"(train(?:ing|val)?|test(?:ing)?|val(?:id(?:ation)?)?|dev(?:elopment)?|eval(?:uation)?|hold[_ -]?out)"
    r"([_ .-]?(?:\d+(?:px)?|[ab]|set|split|data|images?|imgs?)?)",
    re.IGNORECASE,
)
Listing = tuple[list[Path], Tensor | None]  # N files, and their labels [N] int64 if there are classes


class Folder(Data):
    """Images of any size in a folder, which may contain a training and a test folder with any usual names.

    Sub-folders are the classes. They are sorted by name, or by number if all names are numbers, and their
    images may be at any depth. A folder that contains only images has no labels. Hidden files are ignored.
    Links to folders are followed, and every folder is read once.

    Args:
        root: the folder.
        test_root: the folder of the test split; None: the test folder in `root`, if it contains one.
        channels: 1 for grey, 3 for colour.
        height: the height of a sample in pixels.
        width: the width of a sample in pixels.
        crop: none: images are resized, whatever their aspect ratio; center, random: they are resized so
            that they just cover a sample, and then cropped.
        flip: whether half of the training images are mirrored.
        background: the colour behind transparent pixels, a name or #rrggbb.
        white: the value that is white in files of more than 8 bits.
        on_corrupt: error: an unreadable file is refused by name; skip: the next readable file replaces it,
            and its path is appended to `skipped`, at once if it does not have the suffix of an image,
            otherwise when it is read.
        in_memory: whether images are held in memory, which changes no batch; auto: they are if they take at
            most `memory_limit` bytes.
        memory_limit: the limit of `in_memory=auto`, in bytes, for all splits together.
        num_workers: the number of processes that read files; 0: the training process reads them.

    Raises:
        ConfigError: there are no images, a setting contradicts the others, or, when images are
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
        **settings: Unpack[DataSettings],
    ):
        spec = ImageSpec(channels, height, width, crop, flip, background, white)
        require_opaque(background)
        folders = find_splits(root, test_root)
        classes = class_names(folders["train"])
        if settings["num_classes"] is None:
            settings["num_classes"] = len(classes) or None
        check_image_settings(settings, (channels, height, width), len(classes) or None)
        self.skipped: list[str] = []
        skipped = self.skipped if on_corrupt == "skip" else None
        remedy = "repair or remove it, or set data.on_corrupt=skip"
        files = {
            split: ImageFiles(*list_images(folder, classes, skipped), spec, num_workers, skipped, remedy)
            for split, folder in folders.items()
        }
        if in_memory == "auto":
            crops = 2 if crop == "random" else 1  # estimate: an uncropped image is as large as two crops
            in_memory = sum(map(len, files.values())) * crops * channels * height * width <= memory_limit
        loaded = {split: source.load_into_memory() for split, source in files.items()} if in_memory else files
        super().__init__(**settings, sources=loaded, fingerprint_sources=files)
        # The names are stored in the config, in which "${" would begin an interpolation.
        self.class_names = tuple(escape_unprintable(name).replace("${", "$ {") for name in classes) or None


def require_opaque(colour: str) -> None:
    """Raises `ConfigError` unless a text is an opaque colour, by name or as #rrggbb."""
    try:
        _red, _green, _blue = map(int, ImageColor.getrgb(colour))  # a transparent colour has four values
    except (ValueError, TypeError) as error:
        reason = "is not an opaque colour"
        raise ConfigError(reason, "choose one, such as white", ".background", colour) from error


class EvaluationFolder(Data):
    """Images of one size to be evaluated, not resized; they are the split `train`.

    The images may be at any depth. Files without the suffix of an image are skipped.

    Args:
        key: the key of the setting that names the folder.
        root: the folder.
        channels: 1 for grey, 3 for colour; None: 3 if any image has colours, otherwise 1. With 3, a grey
            image gets three equal channels. An image with three equal channels counts as grey.

    Raises:
        ConfigError: there are no images, an image is unreadable, two images differ in size, or an image has
            colours although `channels` is 1.
    """

    def __init__(self, key: str, root: str, channels: int | None = None):
        folder = existing_folder(key, root)
        files, labels = list_images(folder, class_names(folder), skipped=[])
        first = files[0]
        headers = {file: read_header(file) for file in files}
        (width, height), _ = headers[first]
        for file, (size, _) in headers.items():
            reason = f"{file} is {size[0]}x{size[1]}, but {first} is {width}x{height}"
            remedy = "resize them, or put the images of each size into a separate folder"
            require(size == (width, height), "", UNSET, reason, remedy)
        candidates = (file for file, (_, mode) in headers.items() if mode not in GREY_MODES)
        coloured = next((file for file in candidates if has_colours(file, height, width)), None)
        reason = f"{coloured} has colours, and the images it is compared with have none"
        require(channels != 1 or coloured is None, "", UNSET, reason, "make both grey, or both coloured")
        channels = channels or (1 if coloured is None else 3)
        spec = ImageSpec(channels, height, width)
        source = ImageFiles(files, labels, spec, num_workers=0, skipped=None, remedy=REPAIR)
        shape, sources = (channels, height, width), {"train": source}
        super().__init__(shape, num_classes=None, range=(0, 1), batch_size=1, sources=sources)


def has_colours(file: Path, height: int, width: int) -> bool:
    """Whether the channels of an image differ anywhere; False if it is unreadable."""
    try:
        pixels = decode_image(file, ImageSpec(3, height, width), {})
    except Unreadable:
        return False
    return bool((pixels != pixels[:1]).any())


def read_header(file: Path) -> tuple[tuple[int, int], str]:
    """The width and height of an image held upright, and its mode in PIL; reads no pixels."""
    try:
        with open_image(file) as image:
            return (image.size[::-1] if orientation(image) in SIDEWAYS else image.size), image.mode
    except Unreadable as error:
        raise ConfigError(str(error), REPAIR) from error


def find_splits(root: str, test_root: str | None) -> dict[str, Path]:
    """The folders of the splits `train` and, if there is a test folder, `test`.

    Raises:
        ConfigError: a folder is missing, or has sub-folders that are splits instead of classes.
    """
    parent = existing_folder(".root", root)
    folders, _, _ = list_folder(parent)
    names = [folder.name for folder in folders]
    splits = {name: match for name in names if (match := SPLIT.fullmatch(name))}
    kinds = {split_kind(match): name for name, match in splits.items()}
    suffixes = {match[2] for match in splits.values()}  # such as "A" of "trainA"
    if len(names) == 2 and kinds.keys() == {"trai", "test"} and len(suffixes) == 1:
        reason = f"root={root} also has a test split, {kinds['test']}/"
        require(test_root is None, ".test_root", test_root, reason, "set it to null")
        return {"train": parent / kinds["trai"], "test": parent / kinds["test"]}
    # Names of one kind with prefixes are classes, such as blood_test and urine_test.
    prefixed = len(kinds) == 1 and all(match.start(1) for match in splits.values())
    if splits and not prefixed and (len(splits) == len(names) or ("trai" in kinds and len(kinds) > 1)):
        # As classes, they would teach a model to distinguish training images from validation images.
        reason = f"contains {'only ' * (len(splits) == len(names))}the splits {', '.join(sorted(splits))}"
        raise ConfigError(reason, "set it to one of them, and test_root to another or to null", ".root", root)
    for folder in folders:
        matches = [SPLIT.fullmatch(entry.name) for entry in os.scandir(folder) if entry.is_dir()]
        is_class = len({split_kind(match) for match in matches if match}) < 2
        reason = f"{folder} contains splits, not images of a class"
        require(is_class, "", UNSET, reason, "set data.root to it, or to one of the splits")
    return {"train": parent} | (
        {} if test_root is None else {"test": existing_folder(".test_root", test_root)}
    )


def split_kind(split: re.Match[str]) -> str:
    """The first letters of a kind of split, since "train" and "training" are one kind: trai, test, ..."""
    return split[1].lower()[:4]


def existing_folder(key: str, folder: str) -> Path:
    """The path of a folder.

    Args:
        key: the key of the setting that names the folder.

    Raises:
        ConfigError: there is no such folder.
    """
    path = Path(folder).expanduser()
    require(path.is_dir(), key, folder, "is not a folder", "set it to a folder of images")
    return path


def list_folder(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """The folders, the images and the other files in a folder, each sorted, without hidden ones (.DS_Store).

    A link to a folder that contains this folder is left out, because it would be followed without end.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be listed: {error.strerror}") from error
    target = folder.resolve()
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    others = [file for file in files if file.suffix.lower() not in SUFFIXES]
    return [path for path in folders if not target.is_relative_to(path.resolve())], images, others


def class_names(folder: Path) -> list[str]:
    """The names of the sub-folders, sorted (numerically if all are numbers); empty if it contains images."""
    folders, images, _ = list_folder(folder)
    classes = [path.name for path in folders]
    if classes and images:
        reason = f"{folder} contains both images ({images[0].name}) and folders ({classes[0]})"
        raise ConfigError(reason, "keep only images or only folders")
    return sorted(classes, key=int) if all(name.isdecimal() for name in classes) else classes


def list_images(folder: Path, classes: list[str], skipped: list[str] | None) -> Listing:
    """The images of a split, sorted by class and path, and their labels.

    Args:
        classes: the classes of the training split, in the order of their labels.
        skipped: receives the escaped paths of files that are not images; None: such files are refused.
    """
    names = class_names(folder)
    if not set(names) <= set(classes) or bool(names) != bool(classes):
        raise ConfigError(f"the classes of {folder} differ from those of training", "make them equal")
    seen: set[Path] = set()
    groups = {folder: find_images(folder, seen, skipped, deep=False)}
    if names:  # then all images are in sub-folders
        groups = {folder / name: find_images(folder / name, seen, skipped) for name in names}
    for group, files in groups.items():
        reason = f"{group} contains no images that no other folder contains ({' '.join(SUFFIXES)})"
        require(files, "", UNSET, reason, "add some, or remove the folder")
    labels = [classes.index(group.name) for group, files in groups.items() for _ in files if names]
    return list(chain(*groups.values())), torch.tensor(labels) if names else None


def find_images(folder: Path, seen: set[Path], skipped: list[str] | None, deep: bool = True) -> list[Path]:
    """The images in a folder, sorted, and then those in its sub-folders.

    Args:
        seen: the folders that were read before and are left out; receives each folder that is read.
        skipped: as in `list_images`.
        deep: whether sub-folders are read too.
    """
    target = folder.resolve()
    if target in seen:
        return []
    seen.add(target)
    folders, images, others = list_folder(folder)
    if skipped is not None:
        skipped += [escape_unprintable(str(file)) for file in others]
    elif others:
        raise ConfigError(f"{others[0]} is not an image", "remove it, or set data.on_corrupt=skip")
    return images + [file for below in folders if deep for file in find_images(below, seen, skipped)]
