"""Images that a user gives as conditions of samples."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import require
from ganlab.core.validation import ValueRange
from ganlab.data.base import Data, Split, scale
from ganlab.data.image import ImageSpec, crop_image, decode_image
from ganlab.data.listing import list_images


def held_out_conditions(data: Data) -> Callable[[int], Tensor]:
    """The conditions of the test split, or of the training split if there is no other."""
    split: Split = "test" if "test" in data.sources else "train"
    return data.conditions(split)


def given_conditions(
    text: str | None, spec: ConditionSpec, value_range: ValueRange, load_data: Callable[[], Data]
) -> Tensor | Callable[[int], Tensor]:
    """The conditions that a user names: a split of the data, an image, or a folder of images.

    Images are resized to just cover the size of a condition, and their centre is cropped.

    Args:
        text: the name of a split, or the path of an image or a folder; None: see `held_out_conditions`.
        spec: what a condition is, which must be an image of one or three channels for files.
        load_data: a function that loads the data, called for a split only.

    Raises:
        ConfigError: there is no such split or file, or files cannot be conditions.
    """
    if text is None:
        return held_out_conditions(load_data())
    if text in ("train", "validation", "test"):
        data = load_data()
        remedy = f"choose from {', '.join(data.sources)}, or give an image"
        require(text in data.sources, "the data have no such split", remedy, "condition", text)
        return data.conditions(text)  # type: ignore[arg-type]
    is_readable = spec.kind == "image" and spec.shape[0] in (1, 3)
    reason = f"no file can be a condition of the shape {list(spec.shape)}"
    require(is_readable, reason, "name a split of the data, such as test", "condition", text)
    path = Path(text).expanduser()
    require(path.exists(), "is neither a split of the data nor a file", "check the path", "condition", text)
    files = list_images(path, [], skipped=[])[0] if path.is_dir() else [path]
    channels, height, width = spec.shape
    size = ImageSpec(channels, height, width, crop="center")
    pixels = (torch.from_numpy(decode_image(file, size, warnings={})) for file in files)
    return torch.stack([scale(crop_image(image, size), value_range) for image in pixels])
