"""The files of a folder of images: its splits, their classes, and in these the files, all sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.errors import Refused

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLITS = frozenset({"train", "test", "val", "valid", "validation"})


class Listing(NamedTuple):
    """The files of a split, sorted, with their classes."""

    files: list[Path]
    labels: Tensor | None  # [N] int64


def find_splits(root: str, test_root: str | None) -> dict[str, Path]:
    """The folders of the splits, "train" and maybe "test"."""
    home = existing("root", root)
    names = {place.name for place in home.iterdir() if place.is_dir() and not hidden(place)}
    if names == {"train", "test"}:
        if test_root is not None:
            raise Refused(f"data.test_root={test_root}, but data.root={root} holds test/: set it to null")
        return {"train": home / "train", "test": home / "test"}
    if names and names <= SPLITS:
        # As classes these would train a model to tell the training set from the validation set.
        raise Refused(
            f"data.root={root} holds only the splits {', '.join(sorted(names))}: "
            "set data.root to one of them, and data.test_root to another or null"
        )
    return {"train": home} if test_root is None else {"train": home, "test": existing("test_root", test_root)}


def existing(name: str, folder: str) -> Path:
    """The path of a folder that must be there."""
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise Refused(f"data.{name}={folder} is no folder: set data.{name} to a folder of images")
    return place


def hidden(place: Path) -> bool:
    """Whether a file or folder is not meant to be seen (.DS_Store, .ipynb_checkpoints)."""
    return place.name.startswith(".")


def class_names(folder: Path) -> list[str]:
    """The sorted names of the sub-folders; none where the images lie in the folder itself."""
    places = sorted(place for place in folder.iterdir() if not hidden(place))
    classes = [place.name for place in places if place.is_dir()]
    loose = [place.name for place in places if not place.is_dir() and place.suffix.lower() in ENDINGS]
    if classes and loose:
        raise Refused(f"{folder} holds both images ({loose[0]}) and folders ({classes[0]}): keep one kind")
    return classes


def listing(folder: Path, classes: list[str], skipped: list[str] | None) -> Listing:
    """The images of a split with the classes of the training split."""
    present = class_names(folder)
    if not set(present) <= set(classes) or bool(present) != bool(classes):
        raise Refused(f"{folder} has other classes than the training images: give both the same folders")
    files = images(walk(folder, deep=False), skipped)  # none of them is an image where there are classes
    if not classes:
        return Listing(nonempty(folder, files), None)
    labels = []
    for name in present:
        group = nonempty(folder / name, images(walk(folder / name, deep=True), skipped))
        files += group
        labels += [classes.index(name)] * len(group)
    return Listing(files, torch.tensor(labels))


def walk(folder: Path, deep: bool) -> Iterator[Path]:
    """The files in a folder, sorted, then those in its sub-folders, nothing hidden."""
    places = sorted(place for place in folder.iterdir() if not hidden(place))
    yield from (place for place in places if not place.is_dir())
    if deep:
        for place in places:
            if place.is_dir():
                yield from walk(place, deep)


def images(files: Iterable[Path], skipped: list[str] | None) -> list[Path]:
    """The files that are named like images; others are noted in `skipped`, or refused if there is none."""
    kept = []
    for file in files:
        if file.suffix.lower() in ENDINGS:
            kept.append(file)
        elif skipped is None:
            raise Refused(f"{file} is no image: remove it, or set data.on_corrupt=skip")
        else:
            skipped.append(str(file))
    return kept


def nonempty(folder: Path, files: list[Path]) -> list[Path]:
    """The files, of which there must be some."""
    if not files:
        raise Refused(f"{folder} holds no images ({' '.join(ENDINGS)}): add some, or remove it")
    return files
