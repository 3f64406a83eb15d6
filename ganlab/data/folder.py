"""Folders of images: one to train on, whose sub-folders are the classes, and one to evaluate."""

import os
import re
from itertools import chain
from pathlib import Path
from typing import Literal, Unpack

import torch
from PIL import ImageColor
from torch import Tensor

from ganlab.core.errors import UNSET, ConfigError, printable, require
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, Declared, verify_images
from ganlab.data.files import ImageFiles
from ganlab.data.image import SIDEWAYS, ImageSpec, Unreadable, decode_image, open_image, orientation

GREY = ("1", "L", "LA", "I", "I;16", "I;16B")  # modes of PIL
MEND = "mend it, or remove it"  # remedy for an unreadable file
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLIT = re.compile(
    r"(?:.+[_ .-])?"
    r"(train(?:ing|val)?|test(?:ing)?|val(?:id(?:ation)?)?|dev(?:elopment)?|eval(?:uation)?|hold[_ -]?out)"
    r"([_ .-]?(?:\d+(?:px)?|[ab]|set|split|data|images?|imgs?)?)",
    re.IGNORECASE,
)
Listing = tuple[list[Path], Tensor | None]  # files, and their labels [N] int64 if there are classes


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
            reason = f"{file} is {size[0]}x{size[1]}, but {first} is {width}x{height}"
            remedy = "resize them, or put each size in a folder of its own"
            require(size == (width, height), "", UNSET, reason, remedy)
        candidates = (file for file, (_, mode) in headers.items() if mode not in GREY)
        coloured = next((file for file in candidates if has_colours(file, height, width)), None)
        reason = f"{coloured} has colours, and the images it is compared with have none"
        require(channels != 1 or coloured is None, "", UNSET, reason, "make both grey, or both coloured")
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


def find_splits(root: str, test_root: str | None) -> dict[str, Path]:
    """The folders of the splits `train` and, if there is one, `test`.

    Raises:
        ConfigError: a folder is missing, or its sub-folders are splits that cannot be classes.
    """
    home = existing_folder(".root", root)
    folders = list_folder(home)[0]
    names = [folder.name for folder in folders]
    found = {name: match for name in names if (match := SPLIT.fullmatch(name))}
    kinds = {split_kind(match): name for name, match in found.items()}
    affixes = {match[2] for match in found.values()}  # "A" of trainA
    if len(names) == 2 and kinds.keys() == {"trai", "test"} and len(affixes) == 1:
        reason = f"root={root} also has a test split, {kinds['test']}/"
        require(test_root is None, ".test_root", test_root, reason, "set it to null")
        return {"train": home / kinds["trai"], "test": home / kinds["test"]}
    prefixed = len(kinds) == 1 and all(match.start(1) for match in found.values())  # blood_test, urine_test
    if found and not prefixed and (len(found) == len(names) or ("trai" in kinds and len(kinds) > 1)):
        # As classes, these would teach a model to distinguish the training set from the validation set.
        reason = f"contains {'only ' * (len(found) == len(names))}the splits {', '.join(sorted(found))}"
        raise ConfigError(reason, "set it to one of them, and test_root to another or to null", ".root", root)
    for folder in folders:
        inside = [SPLIT.fullmatch(entry.name) for entry in os.scandir(folder) if entry.is_dir()]
        is_class = len({split_kind(match) for match in inside if match}) < 2
        reason, remedy = (
            f"{folder} contains splits, not images of a class",
            "set data.root to it, or to one of them",
        )
        require(is_class, "", UNSET, reason, remedy)
    return {"train": home} | ({} if test_root is None else {"test": existing_folder(".test_root", test_root)})


def split_kind(split: re.Match[str]) -> str:
    """The kind of split that a name means, by four letters: trai, test, vali, ..."""
    return split[1].lower()[:4]


def existing_folder(key: str, folder: str) -> Path:
    """The path of a folder that must exist; `key` is the setting that names it."""
    path = Path(folder).expanduser()
    require(path.is_dir(), key, folder, "is not a folder", "set it to a folder of images")
    return path


def list_folder(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """The folders, the images and the other files in a folder, sorted, without hidden ones (.DS_Store).

    A link to a folder that contains this one is left out.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be listed: {error.strerror}") from error
    here = folder.resolve()
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    others = [file for file in files if file.suffix.lower() not in SUFFIXES]
    return [path for path in folders if not here.is_relative_to(path.resolve())], images, others


def class_names(folder: Path) -> list[str]:
    """The names of the sub-folders, sorted, as numbers if all are; none if the folder contains images."""
    folders, images, _ = list_folder(folder)
    classes = [path.name for path in folders]
    if classes and images:
        reason = f"{folder} contains both images ({images[0].name}) and folders ({classes[0]})"
        raise ConfigError(reason, "keep only images or only folders")
    return sorted(classes, key=int) if all(name.isdecimal() for name in classes) else classes


def list_images(folder: Path, classes: list[str], skipped: list[str] | None) -> Listing:
    """The images of a split, sorted by class and path, and their labels.

    Args:
        classes: of the training split.
        skipped: receives the paths of files that are not images, escaped; None: they are refused.
    """
    names = class_names(folder)
    if not set(names) <= set(classes) or bool(names) != bool(classes):
        raise ConfigError(f"{folder} has other classes than the training images", "give both the same ones")
    seen: set[Path] = set()
    groups = {folder: find_images(folder, seen, skipped, deep=False)}
    if names:  # then the folder has no images of its own
        groups = {folder / name: find_images(folder / name, seen, skipped) for name in names}
    for place, files in groups.items():
        reason = f"{place} contains no images of its own ({' '.join(SUFFIXES)})"
        require(files, "", UNSET, reason, "add some, or remove the folder")
    labels = [classes.index(place.name) for place, files in groups.items() for _ in files if names]
    return list(chain(*groups.values())), torch.tensor(labels) if names else None


def find_images(folder: Path, seen: set[Path], skipped: list[str] | None, deep: bool = True) -> list[Path]:
    """The images in a folder, sorted, then those in its sub-folders; each folder once.

    Args:
        seen: folders that are left out; receives those that are read.
        skipped: as for `list_images`.
        deep: whether sub-folders are read.
    """
    real = folder.resolve()
    if real in seen:
        return []
    seen.add(real)
    folders, images, others = list_folder(folder)
    if skipped is not None:
        skipped += [printable(str(file)) for file in others]
    elif others:
        raise ConfigError(f"{others[0]} is not an image", "remove it, or set data.on_corrupt=skip")
    return images + [file for below in folders if deep for file in find_images(below, seen, skipped)]
