"""Files of vectors, which go with images or are told to a generator."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, error_message, require
from ganlab.data.table import TableFile, number, text


def read_vectors(key: str, path: str) -> tuple[list[str], Tensor]:
    """The names of images in a file, if it has any, and its vectors, [N, E] float32.

    A NumPy file `.npy` holds the vectors, and `.npz` the arrays `vectors` and perhaps `names`, [N]. Any other
    file is a table, see `ganlab.data.table.Table`: its column `file` has the names, the others the elements.
    Raises `ConfigError` with the key of the setting `path` if the file cannot be read, or holds other values.
    """
    if Path(path).suffix not in (".npy", ".npz"):
        table = TableFile(path, key)
        elements = [table.values(key, name, number) for name in table.columns if name != "file"]
        require(elements, "has no column of numbers", key=key, value=path)
        names = table.values(key, "file", text) if "file" in table.columns else []
        return names, torch.tensor(elements).T
    try:
        loaded = np.load(Path(path).expanduser(), allow_pickle=False)
        arrays = {"vectors": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        names, vectors = [*map(str, arrays.get("names", []))], torch.as_tensor(arrays["vectors"]).float()
    except Exception as error:  # damaged files raise all kinds of errors
        raise ConfigError(f"cannot be read ({error_message(error)})", key=key, value=path) from error
    fits = vectors.ndim == 2 and len(names) in (0, len(vectors)) and vectors.isfinite().all()
    require(
        fits and len(vectors), "does not hold finite vectors [N, E], N of them named", key=key, value=path
    )
    return names, vectors


def vectors_of_images(key: str, path: str, names: Sequence[str]) -> Tensor:
    """The vectors of the images with these names, [N, E]; refuses a file that lacks one or has one twice."""
    known, vectors = read_vectors(key, path)
    row_of = {name: row for row, name in enumerate(known)}
    require(len(row_of) == len(known), "names an image twice", "remove one of them", key, path)
    missing = next((name for name in names if name not in row_of), None)
    reason = f"names no {missing} in its column file, which has paths from data.root"
    require(missing is None, reason, "add it, or remove the image", key, path)
    return vectors[[row_of[name] for name in names]]
