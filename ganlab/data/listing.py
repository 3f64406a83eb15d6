"""Lists what is in a folder of images: sub-folders, classes, and image files with their labels."""

from collections.abc import Collection
from itertools import chain
from pathlib import Path

import torch

from ganlab.core.errors import ConfigError, escape_unprintable, require
from ganlab.data.sources import Labels

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


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
