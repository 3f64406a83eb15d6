"""Sources of samples: each reads the batches of one split, from memory or from files."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Self

import torch
from torch import Tensor

from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import require
from ganlab.data.batches import BatchIndices, crop_offset, is_mirrored, sequential_batches

Labels = Tensor | None  # int64, one for each sample; None: the data have no classes
# x [b, *shape] uint8 or float32, and what goes with each: vectors [b, E] float32 or labels [b] int64, if any
Samples = tuple[Tensor, Tensor | None]


class Source(ABC):
    """The samples of one split."""

    augments: bool  # whether training batches are augmented at random
    labels: Labels  # [N] int64
    vectors: Tensor | None = None  # [N, E] float32, told to games instead of the labels; None: there are none

    def told(self, rows: Tensor | list[int]) -> Tensor | None:
        """What goes with the samples in the given rows: their vectors or else their labels, if any."""
        return rows_of(self.labels if self.vectors is None else self.vectors, rows)

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples in an epoch."""

    @abstractmethod
    def at(self, rows: Tensor) -> Self:
        """The samples in the given rows [n], as a source of their own."""

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Moves samples that are held in memory to a device, so that their batches need no copy to it."""

    @abstractmethod
    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        """One batch for each element of `indices`, augmented by its random numbers."""

    @abstractmethod
    def all_samples(self, batch_size: int) -> Iterator[Samples]:
        """Every sample once, in a fixed order, without augmentation; the last batch may be smaller."""

    @abstractmethod
    def fingerprint_parts(self) -> Iterator[Tensor | str]:
        """What `Data.fingerprint` hashes: all samples and labels, but of files only a part."""


class InMemory(Source):
    """Samples that are held in memory, in those attributes of a subclass that are tensors."""

    device = torch.device("cpu")
    # The names of the tensors that have one row for each sample, except `labels` and `vectors`.
    per_sample: tuple[str, ...]
    # The rows that `all_samples` reads; None: all rows. If samples come from files, it leaves out the rows of
    # unreadable files, because they hold copies of other files' samples.
    distinct_rows: Tensor | None = None

    def at(self, rows: Tensor) -> Self:
        part = copy(self)
        part.labels, part.vectors = rows_of(self.labels, rows), rows_of(self.vectors, rows)
        for name in self.per_sample:
            setattr(part, name, getattr(self, name)[rows])
        if self.distinct_rows is not None:
            part.distinct_rows = torch.isin(rows, self.distinct_rows).nonzero()[:, 0]
        return part

    def move(self, device: torch.device) -> None:
        self.device = device
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        for rows, random_numbers in indices:
            rows = copy_to_device(rows, self.device)
            yield self.take(rows, random_numbers), self.told(rows)

    def all_samples(self, batch_size: int) -> Iterator[Samples]:
        rows = torch.arange(len(self)) if self.distinct_rows is None else self.distinct_rows
        return self.batches(sequential_batches(rows, batch_size))

    def fingerprint_parts(self) -> Iterator[Tensor | str]:
        return (value for value in vars(self).values() if isinstance(value, Tensor))

    @abstractmethod
    def take(self, rows: Tensor, random_numbers: Tensor) -> Tensor:
        """The samples [b, *shape] in the given rows [b], augmented by random numbers [b, 3] on the CPU."""


class TensorSource(InMemory):
    """A source of samples that all have one shape, from a tensor in memory.

    Args:
        x: the samples, [N, *shape] uint8 or float32.
        labels: the labels of the samples, [N] int64.
        flip: whether half of the training samples are mirrored; only for images.
        distinct_rows: the rows that `all_samples` reads, [M]; None: all rows.
    """

    per_sample = ("x",)

    def __init__(self, x: Tensor, labels: Labels, flip: bool, distinct_rows: Tensor | None = None):
        self.x, self.labels, self.augments, self.distinct_rows = x, labels, flip, distinct_rows

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor, random_numbers: Tensor) -> Tensor:
        x = self.x[rows]  # [b, *shape]
        if not self.augments:
            return x
        mirrored = copy_to_device(is_mirrored(random_numbers), self.device)
        return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


class VariableSizeImages(InMemory):
    """Images of several sizes, from which a batch takes random crops of one size.

    Args:
        images: N images [C, h, w] uint8, each with h >= H and w >= W.
        labels: the labels of the images, [N] int64.
        shape: the shape of a crop, (C, H, W).
        flip: whether half of the training samples are mirrored.
        distinct_rows: the rows that `all_samples` reads, [M].
    """

    augments = True
    per_sample = ("sizes", "starts")  # `pixels` stays whole

    def __init__(
        self, images: list[Tensor], labels: Labels, shape: Sequence[int], flip: bool, distinct_rows: Tensor
    ):
        self.pixels = torch.cat([image.flatten() for image in images])  # [sum of all C * h * w]
        self.sizes = torch.tensor([image.shape[1:] for image in images])  # [N, 2] h, w
        lengths = torch.tensor([image.numel() for image in images])  # [N]
        self.starts = lengths.cumsum(0) - lengths  # [N] the first pixel of each image
        self.labels, self.shape, self.flip, self.distinct_rows = labels, shape, flip, distinct_rows

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, rows: Tensor, random_numbers: Tensor) -> Tensor:
        # All crops are read from `self.pixels` in one index operation, without a loop over images. In an
        # image of h x w pixels, pixel (channel, y, x) is element channel * h * w + y * w + x.
        channels, height, width = self.shape
        numbers = copy_to_device(random_numbers, self.device)
        _, top_numbers, left_numbers = numbers.T
        heights, widths = self.sizes[rows].T  # [b] each
        # The rows y [b, H] and the columns x [b, W] of the image that each crop covers.
        y = crop_offset(top_numbers, heights - height)[:, None] + torch.arange(height, device=self.device)
        x = crop_offset(left_numbers, widths - width)[:, None] + torch.arange(width, device=self.device)
        if self.flip:
            x = torch.where(is_mirrored(numbers)[:, None], x.flip(1), x)
        within_channel = y[:, :, None] * widths[:, None, None] + x[:, None, :]  # [b, H, W]
        channel_starts = torch.arange(channels, device=self.device) * (heights * widths)[:, None]  # [b, C]
        starts = self.starts[rows][:, None] + channel_starts  # [b, C], the first pixel of each channel
        return self.pixels[starts[:, :, None, None] + within_channel[:, None]]


def check_condition(spec: ConditionSpec | None, shape: Sequence[int], sources: Mapping[str, Source]) -> None:
    """Raises `ConfigError` unless the condition fits samples of this shape and their vectors."""
    if spec is not None and spec.kind == "image":
        fits = len(shape) == 3 and spec.shape[1:] == tuple(shape[1:])
        remedy = "set the height and the width of the samples, which must be images"
        require(fits, f"does not fit samples of the shape {list(shape)}", remedy, ".condition", spec)
    told = [*spec.shape] if spec is not None and spec.kind == "vector" else None
    for vectors in (source.vectors for source in sources.values()):
        found = None if vectors is None else [*vectors.shape[1:]]
        actual = f"vectors of the shape {found}" if found else "no vectors"
        remedy = f"set it to {found}, with the kind vector" if found else "choose data with vectors"
        require(told == found, f"the data have {actual}", remedy, ".condition.shape", told)


def copy_to_device(x: Tensor, device: torch.device) -> Tensor:
    """Copies a batch to a device; the host does not wait for a copy to a GPU."""
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def rows_of(x: Tensor | None, rows: Tensor | list[int]) -> Tensor | None:
    """The given rows of labels or vectors; None without any."""
    return None if x is None else x[rows]
