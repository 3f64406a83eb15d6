"""Data sets of torch, and yours with their interface, as data of a run."""

from collections.abc import Sequence, Sized
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset

from ganlab.core.errors import ConfigError, error_message, require
from ganlab.data.base import Data, DataSettings, check_image_settings, check_settings
from ganlab.data.sources import Labels, TensorSource

SPLITS = ("train", "test")
TRIED = 16  # the first samples are read twice: a random transform would change at least one of so many


class TorchDataset(Data):
    """The samples of data sets with the methods `__len__` and `__getitem__`, which are read once.

    An item is a sample, or a pair of a sample and its class, a whole number, or its vector of floating-point
    numbers, if `condition` is a vector. A sample is a tensor, an array or a PIL image. Images are [C, H, W]
    if they are tensors, otherwise [H, W, C]; [H, W] has one channel.

    Args:
        train: the training samples; its attribute `classes`, if it has one, holds the names of the classes.
        test: the samples of the test split; None: there is no such split.
        values: the range of images of floating-point numbers; bytes have 0 to 255.
        flip: whether half of the training images are mirrored.

    Raises:
        ConfigError: a data set has no length, an item is something else, samples differ in shape, change when
            they are read again, or exceed `values`; or a setting contradicts them.
    """

    def __init__(
        self, train: Dataset[Any] | None, test: Dataset[Any] | None, values: tuple[float, float], flip: bool,
        **settings: Unpack[DataSettings],
    ):  # fmt: skip
        require(train is not None, "is missing", "give it, as {_target_: my_package.MyDataset}", ".train")
        given = [dataset for dataset in (train, test) if dataset is not None]
        x, labels, vectors = read_all(given)
        names = getattr(train, "classes", None)
        num_classes = None if labels is None else len(names or ()) or int(labels.max()) + 1
        settings["num_classes"] = settings["num_classes"] or num_classes
        check = check_settings if settings["range"] is None else check_image_settings
        check(settings, shape=tuple(x.shape[1:]), num_classes=num_classes)
        x = x.float() if settings["range"] is None else as_bytes(x, values)
        whole = TensorSource(x, labels, flip)
        whole.vectors = vectors
        rows = torch.arange(len(x)).split([*map(len, given)])  # type: ignore[arg-type]
        sources = {split: whole.at(part) for split, part in zip(SPLITS, rows, strict=False)}
        super().__init__(**settings, sources=sources, class_names=names)


def read_all(given: Sequence[Dataset[Any]]) -> tuple[Tensor, Labels, Tensor | None]:
    """The samples of all splits in turn [N, *shape], and their classes [N] or vectors [N, E], if any."""
    for split, dataset in zip(SPLITS, given, strict=False):
        require(not isinstance(dataset, Sized) or len(dataset) > 0, "has no samples", key=f".{split}")
        is_indexed = isinstance(dataset, Sized) and not isinstance(dataset, IterableDataset)
        reason = "has no __len__ and __getitem__, by which batch k would be a function of the seed and k"
        require(is_indexed, reason, "define them, or save its images for data=folder", f".{split}")
    whole: ConcatDataset[Any] = ConcatDataset(given)
    try:
        with torch.random.fork_rng(devices=[]):
            tried = [sample_and_label(whole[i])[0] for i in range(min(TRIED, len(whole)))]
            items = [sample_and_label(whole[i]) for i in range(len(whole))]
        x, labels = torch.stack([x for x, _ in items]), [label for _, label in items if label is not None]
        told = torch.stack(labels) if labels else None
    except Exception as error:  # a data set may raise anything
        raise ConfigError(f"cannot be read: {error_message(error)}".rstrip("."), key=".") from error
    is_fixed = torch.equal(torch.stack(tried), x[: len(tried)])
    remedy = "remove random transforms, and use data.flip or trick=diff_augment"
    require(is_fixed, "differs when it is read again", remedy, ".train")
    is_complete, is_class = len(labels) in (0, len(items)), told is None or told.ndim == 1
    require(is_complete, "has classes for some samples only", "give all of them one, or none", ".")
    return x, told if is_class else None, None if is_class else told


def sample_and_label(item: Any) -> tuple[Tensor, Tensor | None]:
    """An item as a sample [*shape], of bytes or floating-point numbers, and its class, [], or vector, [E]."""
    sample, *labels = item if isinstance(item, tuple | list) else (item,)
    array = np.array(() if torch.is_tensor(sample) else sample)
    remedy = "return a tensor, an array or an image, or a pair with its class or vector"
    require(array.dtype != object, f"an item is a {type(sample).__name__}", remedy)
    x = sample if torch.is_tensor(sample) else torch.from_numpy(array)
    x = x[None] if x.ndim == 2 else x.permute(2, 0, 1) if x.ndim == 3 and x is not sample else x
    is_number = x.dtype == torch.uint8 or x.is_floating_point()
    require(is_number, f"a sample is of {x.dtype}", "make it uint8 or floating point")
    label = torch.as_tensor(labels[0] if labels else 0)
    is_vector = label.ndim == 1 and label.is_floating_point() and bool(label.isfinite().all())
    is_class = label.ndim == 0 and not label.is_floating_point() and label >= 0
    is_label = len(labels) < 2 and (is_class or is_vector)
    require(is_label, "an item has more than a sample and its class, a whole number, or its vector", remedy)
    return x, (label.float() if is_vector else label.long()) if labels else None


def as_bytes(x: Tensor, values: Sequence[float]) -> Tensor:
    """Images as numbers from 0 to 255; refuses floating-point numbers out of their range `values`."""
    if x.dtype == torch.uint8:
        return x
    low, high = values
    least, greatest = float(x.min()), float(x.max())
    reason = f"does not hold the samples, which lie from {least:.4g} to {greatest:.4g}"
    require(low <= least < greatest <= high, reason, "set the right range", ".values", values)
    return ((x - low) / (high - low) * 255).float()
