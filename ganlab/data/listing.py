"""The image files of a folder: its splits, their classes, and the files of each class."""

import os
import re
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, printable, require

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLIT = re.compile(
    r"(?:.+[_ .-])?"
    r"(train(?:ing|val)?|test(?:ing)?|val(?:id(?:ation)?)?|dev(?:elopment)?|eval(?:uation)?|hold[_ -]?out)"
    r"([_ .-]?(?:\d+(?:px)?|[ab]|set|split|data|images?|imgs?)?)",
    re.IGNORECASE,
)


Listing = tuple[list[Path], Tensor | None]  # files, and their labels [N] int64 if there are classes


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
        if len({split_kind(match) for match in inside if match}) > 1:
            reason = f"{folder} contains splits, not images of a class"
            raise ConfigError(reason, "set data.root to it, or to one of them")
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
        if not files:
            reason = f"{place} contains no images of its own ({' '.join(SUFFIXES)})"
            raise ConfigError(reason, "add some, or remove the folder")
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
