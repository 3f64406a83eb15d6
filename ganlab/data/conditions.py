"""Images and vectors that a user gives as conditions of samples."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ganlab.core.batch import ConditionSource, ConditionSpec
from ganlab.core.errors import ConfigError, error_message, require
from ganlab.data.base import Data, Split, scale
from ganlab.data.image import ImageSpec, crop_image, decode_image
from ganlab.data.listing import read_folder
from ganlab.data.table import TableFile, number
from ganlab.data.table import text as name_in


def default_conditions(told: ConditionSpec | None, data: Data) -> ConditionSource | None:
    """The conditions of samples if a user names none; None: classes in turn, or the game is told nothing.

    Images and vectors are those of the test split, or of the training split if there is no other.
    """
    if told is None or told.kind == "class":
        return None
    return data.conditions("test" if "test" in data.sources else "train")


def given_conditions(
    text: str | None, told: ConditionSpec | None, settings: Mapping[str, Any], load_data: Callable[[], Data]
) -> ConditionSource | None:
    """The conditions that a user names: a split of the data, an image, a folder of images at any depth, or a
    file of vectors (`read_vectors`).

    Images are read as those of the run are, without chance: a crop is the centre. If its settings do not say
    how, images are resized to just cover the size of a condition, and their centre is cropped.

    Args:
        text: the name of a split, or the path of a file or a folder; None: see `default_conditions`.
        told: what the generator is told: a vector, or an image, of one or three channels for files.
        settings: those of the run's data: `range`, and perhaps `crop`, `background` and `white`.
        load_data: a function that loads the data, which only splits need.

    Raises:
        ConfigError: there is no such split or file, or the generator cannot be told what it holds.
    """
    if told is None or told.kind == "class":
        remedy = "remove it" if told is None else "give class=<name or number>"
        require(text is None, "the generator is told no image and no vector", remedy, "condition", text)
        return None
    if text is None:
        return default_conditions(told, load_data())
    if text in get_args(Split):
        data = load_data()
        remedy = f"choose from {', '.join(data.sources)}, or give a file"
        require(text in data.sources, "the data have no such split", remedy, "condition", text)
        return data.conditions(text)  # type: ignore[arg-type]
    path = Path(text).expanduser()
    require(path.exists(), "is neither a split of the data nor a file", "check the path", "condition", text)
    if told.kind == "vector":
        vectors = read_vectors("condition", text)[1]
        reason = f"has vectors of {vectors.shape[1]} elements, but the generator is told {told.shape[0]}"
        require(vectors.shape[1:] == told.shape, reason, "give others", "condition", text)
        name = f"{len(vectors)} vectors from a file"
        return ConditionSource(name, lambda n: vectors[torch.arange(n) % len(vectors)])
    reason = f"no file can be a condition of the shape {list(told.shape)}"
    require(told.shape[0] in (1, 3), reason, "name a split of the data, such as test", "condition", text)
    files = read_folder(path, visited=set(), skipped=[]) if path.is_dir() else [path]
    require(files, "contains no images", "add some", "condition", text)
    spec = image_spec(told.shape, settings)
    pixels = [torch.from_numpy(decode_image(file, spec, warnings={})) for file in files]
    images = torch.stack([scale(crop_image(image, spec), settings["range"]) for image in pixels])
    return ConditionSource(f"{len(files)} images from files", lambda n: images[torch.arange(n) % len(images)])


def image_spec(shape: Sequence[int], settings: Mapping[str, Any]) -> ImageSpec:
    """How files become images of the shape (C, H, W), by the settings of the data of a run."""
    channels, height, width = shape
    settings = settings.get("of") or settings  # those of data=masked are of other data
    reading = {key: settings[key] for key in ("crop", "background", "white") if key in settings}
    return ImageSpec(channels, height, width, **({"crop": "center"} | reading))


def read_vectors(key: str, path: str) -> tuple[list[str], Tensor]:
    """The names of images in a file, if it has any, and its vectors, [N, E] float32.

    A NumPy file `.npy` holds the vectors, and `.npz` the arrays `vectors` and perhaps `names`, [N]. Any other
    file is a table, see `ganlab.data.table.Table`: its column `file` has the names, the others the elements.
    Raises `ConfigError` with the key of the setting `path` if the file cannot be read, or holds other values.
    """
    names: list[str] = []
    if Path(path).suffix in (".npy", ".npz"):
        try:
            loaded = np.load(Path(path).expanduser(), allow_pickle=False)
            arrays = {"vectors": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
            names, vectors = [*map(str, arrays.get("names", []))], torch.tensor(arrays["vectors"]).float()
        except Exception as error:  # damaged files raise all kinds of errors
            raise ConfigError(f"cannot be read ({error_message(error)})", key=key, value=path) from error
    else:
        table = TableFile(path, key)
        vectors = torch.tensor([table.values(key, c, number) for c in table.columns if c != "file"]).T
        names = table.values(key, "file", name_in) if "file" in table.columns else names
    fits = vectors.ndim == 2 and len(names) in (0, len(vectors)) and vectors.isfinite().all()
    reason = "does not hold finite vectors [N, E], all or none of them named"
    require(fits and len(vectors), reason, key=key, value=path)
    return names, vectors
