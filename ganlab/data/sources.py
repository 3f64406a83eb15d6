"""Sources: the samples of one split, in memory or in files, from which batches are read."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.randomness import seeded_generator
from ganlab.data.sampler import BatchIndices, crop_offset, is_mirrored, no_augmentation, sequential_batches

Choice = Literal["last", "random"]  # which samples are held out
Labels = Tensor | None  # int64, one for each sample; None: the data have no classes
Samples = tuple[Tensor, Tensor | None]  # x [b, *shape] uint8 or float32; labels [b] int64
LabelledBatch = tuple[Tensor, Tensor | None, Tensor, Tensor | None]  # a batch, then the labelled one


class Source(ABC):
    """The samples of one split."""

    augments: bool  # whether training batches are augmented at random
    labels: Labels  # [N] int64

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples in an epoch."""

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Moves samples that are held in memory to a device, where a batch is then an index operation."""

    @abstractmethod
    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        """One batch for each element of `indices`, augmented by its random numbers."""

    @abstractmethod
    def all_samples(self, batch_size: int) -> Iterator[Samples]:
        """Every sample once, in a fixed order, without augmentation; the last batch may be smaller."""

    @abstractmethod
    def contents(self) -> Iterator[Tensor | str]:
        """The input of a fingerprint of the samples, wherever they are stored; quick to read."""


class InMemory(Source):
    """Samples in tensors, all of which move to the device of the game."""

    device = torch.device("cpu")
    distinct_rows: Tensor | None = (
        None  # one row of each distinct sample, as `all_samples` returns; None: all
    )

    def move(self, device: torch.device) -> None:
        self.device = device
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        for rows, random_numbers in indices:
            rows = send(rows, self.device)
            numbers = None if random_numbers is None else send(random_numbers, self.device)
            yield self.take(rows, numbers), labels_at(self.labels, rows)

    def all_samples(self, batch_size: int) -> Iterator[Samples]:
        rows = torch.arange(len(self)) if self.distinct_rows is None else self.distinct_rows
        return self.batches(sequential_batches(rows, batch_size))

    def contents(self) -> Iterator[Tensor | str]:
        return (value for value in vars(self).values() if isinstance(value, Tensor))

    @abstractmethod
    def take(self, rows: Tensor, random_numbers: Tensor | None) -> Tensor:
        """The samples [b, *shape] in the given rows [b], augmented by random numbers [b, 3] unless None."""


class Memory(InMemory):
    """Samples of one size.

    Args:
        x: the samples, [N, *shape] uint8 or float32.
        labels: their labels, [N] int64.
        flip: whether half of the training samples, which must be images then, are mirrored.
        distinct_rows: the rows that are no replacements of unreadable files, [M]; None: all.
    """

    def __init__(self, x: Tensor, labels: Labels, flip: bool, distinct_rows: Tensor | None = None):
        self.x, self.labels, self.augments, self.distinct_rows = x, labels, flip, distinct_rows

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor, random_numbers: Tensor | None) -> Tensor:
        x = self.x[rows]  # [b, *shape]
        if random_numbers is None:
            return x
        return torch.where(is_mirrored(random_numbers)[:, None, None, None], x.flip(-1), x)


class VariableSizeImages(InMemory):
    """Images of several sizes; a batch consists of random crops of one size.

    Args:
        images: N images [C, h, w] uint8, each with h >= H and w >= W.
        labels: their labels, [N] int64.
        shape: the shape of a crop, (C, H, W).
        flip: whether half of the training samples are mirrored.
        distinct_rows: as in `Memory`, [M].
    """

    augments = True

    def __init__(
        self, images: list[Tensor], labels: Labels, shape: Sequence[int], flip: bool, distinct_rows: Tensor
    ):
        self.pixels = torch.cat([image.flatten() for image in images])  # [sum of all C * h * w]
        self.sizes = torch.tensor([image.shape[1:] for image in images])  # [N, 2] h, w
        lengths = shape[0] * self.sizes.prod(1)  # [N]
        self.starts = lengths.cumsum(0) - lengths  # [N]
        self.labels, self.shape, self.flip, self.distinct_rows = labels, shape, flip, distinct_rows

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, rows: Tensor, random_numbers: Tensor | None) -> Tensor:
        # All crops are gathered at once from the flat pixels, without a loop over images. Pixel (c, y, x) of
        # an image of h x w pixels is element c h w + y w + x after the start of the image.
        channels, height, width = self.shape
        numbers = no_augmentation(len(rows), self.device) if random_numbers is None else random_numbers
        heights, widths = self.sizes[rows].T  # [b], [b]
        top, left = crop_offset(numbers[:, 1], heights - height), crop_offset(numbers[:, 2], widths - width)
        x = torch.arange(width, device=self.device).expand(len(rows), width)  # [b, W] columns of the crop
        if self.flip:
            x = torch.where(is_mirrored(numbers)[:, None], width - 1 - x, x)
        y = top[:, None] + torch.arange(height, device=self.device)  # [b, H] rows of the image
        in_plane = y[:, :, None] * widths[:, None, None] + (left[:, None] + x)[:, None, :]  # [b, H, W]
        planes = torch.arange(channels, device=self.device) * (heights * widths)[:, None]  # [b, C]
        starts = self.starts[rows][:, None] + planes  # [b, C] the first element of each plane
        return self.pixels[starts[:, :, None, None] + in_plane[:, None]]


def hold_out(x: Tensor, labels: Tensor, validation: int, choice: Choice, flip: bool) -> dict[str, Source]:
    """Splits samples into the sources `train` and `validation`; only `train` if `validation` is 0.

    Args:
        x: the samples, [N, *shape].
        labels: their labels, [N].
        validation: the number of samples to hold out.
        choice: `last` holds out those at the end, `random` the same random ones in every run.
        flip: whether half of the training samples are mirrored.

    Raises:
        ConfigError: no sample would be left for training.
    """
    if validation == 0:
        return {"train": Memory(x, labels, flip)}
    require(validation < len(x), ".validation", validation, f"holds out all {len(x)} samples", "lower it")
    order = torch.arange(len(x))
    if choice == "random":
        order = torch.randperm(len(x), generator=seeded_generator("validation"))
    rows = {"train": order[:-validation].sort().values, "validation": order[-validation:]}
    return {split: Memory(x[part], labels[part], flip) for split, part in rows.items()}


def send(x: Tensor, device: torch.device) -> Tensor:
    """Copies a batch to a device; the host does not wait for a copy to a GPU."""
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def labels_at(labels: Labels, rows: Tensor | list[int]) -> Tensor | None:
    """The labels in the given rows; None without labels."""
    return None if labels is None else labels[rows]
