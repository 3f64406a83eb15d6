"""The files of a folder of images: its splits, their classes, and in these the files, all sorted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, printable

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLIT = re.compile(
    r"(?:.+[_ .-])?"
    r"(train(?:ing|val)?|test(?:ing)?|val(?:id(?:ation)?)?|dev(?:elopment)?|eval(?:uation)?|hold[_ -]?out)"
    r"([_ .-]?(?:\d+(?:px)?|[ab]|set|split|data|images?|imgs?)?)",
    re.IGNORECASE,
)


class Listing(NamedTuple):
    """The files of a split, sorted, with their classes."""

    files: list[Path]
    labels: Tensor | None  # [N] int64


def find_splits(root: str, test_root: str | None) -> dict[str, Path]:
    """The folders of the splits, "train" and maybe "test"."""
    home = existing("root", root)
    names = [place.name for place in visible(home)[0]]
    found = {name: part for name in names if (part := SPLIT.fullmatch(name))}
    kinds = {part[1].lower()[:4]: name for name, part in found.items()}  # trai, test, vali, ...
    rests = {part[2] for part in found.values()}  # "A" of trainA
    if len(names) == 2 and kinds.keys() == {"trai", "test"} and len(rests) == 1:
        if test_root is not None:
            raise ConfigError(
                f"data.test_root={test_root}, but data.root={root} holds {kinds['test']}/: set it to null"
            )
        return {"train": home / kinds["trai"], "test": home / kinds["test"]}
    prefixed = len(kinds) == 1 and all(part.start(1) for part in found.values())  # blood_test, urine_test
    if found and not prefixed and (len(found) == len(names) or ("trai" in kinds and len(kinds) > 1)):
        # As classes these would train a model to tell the training set from the validation set.
        raise ConfigError(
            f"data.root={root} holds {'only ' if len(found) == len(names) else ''}the splits "
            f"{', '.join(sorted(found))}: set data.root to one of them, and data.test_root to another or null"
        )
    for place in visible(home)[0]:
        inside = [SPLIT.fullmatch(entry.name) for entry in os.scandir(place) if entry.is_dir()]
        if len({part[1].lower()[:4] for part in inside if part}) > 1:
            raise ConfigError(
                f"{place} holds splits, not images of a class: set data.root to it, or to one of them"
            )
    return {"train": home} if test_root is None else {"train": home, "test": existing("test_root", test_root)}


def existing(name: str, folder: str) -> Path:
    """The path of a folder that must be there."""
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise ConfigError(f"data.{name}={folder} is no folder: set data.{name} to a folder of images")
    return place


def visible(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder, sorted, nothing hidden (.DS_Store, .ipynb_checkpoints).

    A link back to a folder that holds this one is none of them.
    """
    try:
        places = sorted(place for place in folder.iterdir() if not place.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be listed: {error.strerror}") from error
    here = folder.resolve()
    folders = [place for place in places if place.is_dir()]
    files = [place for place in places if not place.is_dir()]
    return [place for place in folders if not here.is_relative_to(place.resolve())], files


def class_names(folder: Path) -> list[str]:
    """The names of the sub-folders, sorted, as numbers where all are; none where images lie in the folder."""
    folders, files = visible(folder)
    classes = [place.name for place in folders]
    loose = [file.name for file in files if file.suffix.lower() in ENDINGS]
    if classes and loose:
        raise ConfigError(
            f"{folder} holds both images ({loose[0]}) and folders ({classes[0]}): keep one kind"
        )
    return sorted(classes, key=int) if all(name.isdecimal() for name in classes) else classes


def listing(folder: Path, classes: list[str], skipped: list[str] | None) -> Listing:
    """The images of a split with the classes of the training split."""
    present = class_names(folder)
    if not set(present) <= set(classes) or bool(present) != bool(classes):
        raise ConfigError(f"{folder} has other classes than the training images: give both the same folders")
    seen: set[Path] = set()
    files = images(walk(folder, seen, deep=False), skipped)  # none is an image where there are classes
    if not classes:
        return Listing(nonempty(folder, files), None)
    labels = []
    for name in present:
        group = nonempty(folder / name, images(walk(folder / name, seen, deep=True), skipped))
        files += group
        labels += [classes.index(name)] * len(group)
    return Listing(files, torch.tensor(labels))


def walk(folder: Path, seen: set[Path], deep: bool) -> Iterator[Path]:
    """The files in a folder, sorted, then those in its sub-folders, nothing hidden, each folder once."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    folders, files = visible(folder)
    yield from files
    for place in folders if deep else ():
        yield from walk(place, seen, deep)


def images(files: Iterable[Path], skipped: list[str] | None) -> list[Path]:
    """The files that are named like images; others are noted in `skipped`, or refused if there is none."""
    kept = []
    for file in files:
        if file.suffix.lower() in ENDINGS:
            kept.append(file)
        elif skipped is None:
            raise ConfigError(f"{file} is no image: remove it, or set data.on_corrupt=skip")
        else:
            skipped.append(printable(str(file)))
    return kept


def nonempty(folder: Path, files: list[Path]) -> list[Path]:
    """The files, of which there must be some."""
    if not files:
        raise ConfigError(
            f"{folder} holds no images of its own ({' '.join(ENDINGS)}): add some, or remove it"
        )
    return files
