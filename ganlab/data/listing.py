"""Lists what is in a folder of images: splits, classes, and image files with their labels."""

import re
from collections.abc import Collection
from itertools import chain
from pathlib import Path
from typing import Literal

import torch

from ganlab.core.errors import ConfigError, escape_unprintable, require
from ganlab.data.sources import Labels

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# The name of a split consists of a prefix, a word for the split and a suffix, as in "mnist_train_images".
SPLIT_NAME = re.compile(
    r"(?P<prefix>.+[_ .-])?(?P<word>train(?:ing|val)?|test(?:ing)?|val(?:id(?:ation)?)?"
    r"|dev(?:elopment)?|eval(?:uation)?|hold[_ -]?out)"
    r"(?P<suffix>[_ .-]?(?:\d+(?:px)?|[ab]|set|split|data|images?|imgs?)?)",
    re.IGNORECASE,
)


def existing_folder(key: str, folder: str) -> Path:
    """The path of a folder; raises `ConfigError` if it does not exist, with the key of its setting."""
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
    return folders, images, [file for file in files if file.suffix.lower() not in SUFFIXES]


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
    return sorted_classes(classes)


def sorted_classes(names: Collection[str]) -> list[str]:
    """The names of classes in the order of their labels: sorted, by number if all are numbers."""
    return sorted(names, key=int if all(name.isdecimal() for name in names) else None)


def list_images(folder: Path, classes: list[str], skipped: list[str] | None) -> tuple[list[Path], Labels]:
    """Lists the N images of a split, sorted by class and path, and their labels [N]; None without classes.

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
    # A folder with sub-folders contains no images itself. It is read all the same: its other files are
    # skipped or refused, and it counts as visited, so that no link to it is followed.
    images_of_folder = {folder: read_folder(folder, visited, skipped, deep=False)}
    if names:
        images_of_folder = {folder / name: read_folder(folder / name, visited, skipped) for name in names}
    for path, images in images_of_folder.items():
        reason = f"{path} contains no images ({' '.join(SUFFIXES)}), or only in links to folders read before"
        require(images, reason, "add some, or remove the folder")
    files = list(chain(*images_of_folder.values()))
    if not names:
        return files, None
    labels = [classes.index(path.name) for path, images in images_of_folder.items() for _ in images]
    return files, torch.tensor(labels)


def read_folder(folder: Path, visited: set[Path], skipped: list[str] | None, deep: bool = True) -> list[Path]:
    """Returns the sorted images of a folder, and then those of its sub-folders; skips or refuses other files.

    Args:
        visited: the folders that have been read. They are not read again, so they seem to contain no images.
            This folder is added.
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


def find_splits(root: str, test_root: str | None) -> dict[str, Path]:
    """The folder of the split `train` and, if there is a test folder, that of the split `test`.

    Args:
        root: either the training folder, which contains classes or images, or the folder that contains the
            training folder and the test folder.
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
    # The folder is the training split, so its sub-folders are classes.
    refuse_splits_as_classes(root, folders, splits)
    test = {} if test_root is None else {"test": existing_folder(".test_root", test_root)}
    return {"train": parent, **test}


def find_pairs(
    root: str, test_root: str | None, direction: Literal["AtoB", "BtoA"]
) -> dict[str, tuple[Path, Path]]:
    """For each split, the folder of its samples and that of their conditions, such as trainB and trainA.

    Empty if `root` has neither, so that pairs are side by side in its files.

    Raises:
        ConfigError: one of two folders is missing, or there are further folders or another test folder.
    """
    folders, _, _ = list_folder(existing_folder(".root", root))
    pairs: dict[str, dict[str, Path]] = {}
    others = []
    for folder in folders:
        match = SPLIT_NAME.fullmatch(folder.name)
        role, side = (split_role(match), side_of_pair(match)) if match else ("", "")
        if side and role in ("train", "test"):
            pairs.setdefault(role, {})[side] = folder
        else:
            others.append(folder.name)
    reason, are_partners = "its images would be cut into halves", {*map(str.lower, others)} == {"a", "b"}
    require(pairs or not are_partners, reason, "rename A to trainA and B to trainB", ".root", root)
    if pairs:
        names = ", ".join(sorted(folder.name for sides in pairs.values() for folder in sides.values()))
        complete = "train" in pairs and all(len(sides) == 2 for sides in pairs.values())
        reason = f"of the folders trainA, trainB, testA and testB, it has only {names}"
        require(complete, reason, "add the missing ones", ".root", root)
        reason = f"also contains {', '.join(others)}, which are no pairs to train or test on"
        require(not others, reason, "move them elsewhere", ".root", root)
        reason = "has no effect, because root has folders trainA and trainB"
        require(test_root is None, reason, "set it to null", ".test_root", test_root)
    sample, condition = direction[-1].lower(), direction[0].lower()
    return {split: (sides[sample], sides[condition]) for split, sides in pairs.items()}


def list_partners(files: list[Path], folder: Path, other: Path, skipped: list[str] | None) -> list[Path]:
    """For each file below `folder`, that of the same name below `other`.

    Raises:
        ConfigError: a file below one of the folders has no partner below the other.
    """
    partners, _ = list_images(other, list_classes(other), skipped)
    names = [file.relative_to(folder) for file in files]
    other_names = [file.relative_to(other) for file in partners]
    for complete, names_of_other, place in ((names, other_names, other), (other_names, names, folder)):
        missing = sorted({*complete} - {*names_of_other})
        reason = f"{place} has no {missing[0]}, the partner of an image" if missing else ""
        require(not missing, reason, "add it, or remove the image")
    return [other / name for name in names]


def refuse_splits_as_classes(root: str, folders: list[Path], splits: dict[str, re.Match[str]]) -> None:
    """Raises `ConfigError` if sub-folders are or contain splits, because they would be used as classes.

    A model would then learn to distinguish, for example, training images from validation images. Sub-folders
    are refused in three cases:
    (1) All of them have names of splits. If all these names have prefixes and the same role, such as
        blood_test and urine_test, they are classes nevertheless, and are not refused.
    (2) A training split and a split of a different role are among them.
    (3) One of them contains splits of different roles.

    Args:
        splits: the names of those sub-folders that have names of splits, with their matches of `SPLIT_NAME`.
    """
    roles = {split_role(match) for match in splits.values()}
    only_splits = len(folders) > 0 and len(splits) == len(folders)
    are_classes = len(roles) == 1 and all(match["prefix"] for match in splits.values())
    if (only_splits and not are_classes) or ("train" in roles and len(roles) > 1):
        reason = f"contains {'only the' if only_splits else 'the'} splits {', '.join(sorted(splits))}"
        remedy = "set it to one of them, and test_root to another or to null"
        if {"a", "b"} <= {*map(side_of_pair, splits.values())}:
            remedy = f"choose data=paired_folder for pairs, or {remedy}"
        raise ConfigError(reason, remedy, ".root", root)
    for folder in folders:
        matches = [SPLIT_NAME.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()]
        inner_roles = {split_role(match) for match in matches if match}
        reason = f"{folder} contains splits, not images of a class"
        require(len(inner_roles) < 2, reason, "set data.root to it, or to one of the splits")


def split_role(match: re.Match[str]) -> str:
    """The role of a split, from the match of its name: `train`, `test`, or a few letters of another word.

    The first four letters are kept, so that "test" and "testing" have one role. "val" and "validation" have
    two, which is harmless: roles other than `train` and `test` only help to tell splits from classes.
    """
    word = match["word"].lower()
    return "train" if word.startswith("train") else word[:4]


def side_of_pair(match: re.Match[str]) -> str:
    """`a` or `b` of the name of a split of pairs, such as trainA; empty for other names."""
    side = match["suffix"].strip("_ .-").lower()
    return side if side in ("a", "b") and not match["prefix"] else ""
