"""Sources: the samples of one split, in memory or in files, and the batches made of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.randomness import seeded_generator
from ganlab.data.sampler import BatchIndices, crop_offset, flips, no_augmentation, sequential_batches

Choice = Literal["last", "random"]  # of the samples that are held out
Samples = tuple[Tensor, Tensor | None]  # x [b, *shape] uint8 or float32; labels [b] int64
LabelledBatch = tuple[Tensor, Tensor | None, Tensor, Tensor | None]  # a batch, then the labelled one


class Source(ABC):
    """The samples of one split."""

    augments: bool  # whether training batches are augmented at random
    labels: Tensor | None  # [N] int64

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples in an epoch."""

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Moves what is held in memory to a device, where a batch is then an index operation."""

    @abstractmethod
    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        """One batch for each of the indices, augmented by their random numbers."""

    @abstractmethod
    def sweep(self, batch_size: int) -> Iterator[Samples]:
        """Every sample once, in a fixed order, not augmented; the last batch may be smaller."""

    @abstractmethod
    def contents(self) -> Iterator[Tensor | str]:
        """The input of a fingerprint of these samples, wherever they are stored; quick to read."""


class InMemory(Source):
    """Samples in tensors, all of which move to the device of the game."""

    device = torch.device("cpu")
    swept: Tensor | None = None  # the rows that a sweep visits; None: all

    def move(self, device: torch.device) -> None:
        self.device = device
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        for rows, random_numbers in indices:
            here = send(rows, self.device)
            numbers = None if random_numbers is None else send(random_numbers, self.device)
            yield self.take(here, numbers), labels_at(self.labels, here)

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        rows = torch.arange(len(self)) if self.swept is None else self.swept
        return self.batches(sequential_batches(rows, batch_size))

    def contents(self) -> Iterator[Tensor | str]:
        return (value for value in vars(self).values() if isinstance(value, Tensor))

    @abstractmethod
    def take(self, rows: Tensor, random_numbers: Tensor | None) -> Tensor:
        """The samples [b, *shape] in these rows [b], augmented by random numbers [b, 3] or not."""


class Memory(InMemory):
    """Samples of one size.

    Args:
        x: [N, *shape] uint8 or float32.
        labels: [N] int64.
        flip: mirror half of the training samples, which are images.
    """

    def __init__(self, x: Tensor, labels: Tensor | None, flip: bool):
        self.x, self.labels, self.augments = x, labels, flip

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor, random_numbers: Tensor | None) -> Tensor:
        x = self.x[rows]  # [b, *shape]
        if random_numbers is None:
            return x
        return torch.where(flips(random_numbers)[:, None, None, None], x.flip(-1), x)


class VariableSizeImages(InMemory):
    """Images of many sizes, of which a batch has random crops of one size.

    Args:
        images: [C, h, w] uint8, each h >= H and w >= W.
        labels: [N] int64.
        shape: of a crop, (C, H, W).
        flip: mirror half of the training samples.
    """

    augments = True

    def __init__(self, images: Sequence[Tensor], labels: Tensor | None, shape: tuple[int, ...], flip: bool):
        self.pixels = torch.cat([image.flatten() for image in images])  # [sum of all C * h * w]
        self.sizes = torch.tensor([image.shape[1:] for image in images])  # [N, 2] h, w
        lengths = shape[0] * self.sizes.prod(1)  # [N]
        self.starts = lengths.cumsum(0) - lengths  # [N]
        self.labels, self.shape, self.flip = labels, shape, flip

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, rows: Tensor, random_numbers: Tensor | None) -> Tensor:
        # All crops in one gather, without a loop over images.
        channels, height, width = self.shape
        device = self.device
        numbers = no_augmentation(len(rows), device) if random_numbers is None else random_numbers
        tall, wide = self.sizes[rows].T  # [b], [b]
        top, left = crop_offset(numbers[:, 1], tall - height), crop_offset(numbers[:, 2], wide - width)
        step = torch.arange(width, device=device).expand(len(rows), width)  # [b, W]
        if self.flip:
            step = torch.where(flips(numbers)[:, None], width - 1 - step, step)
        down = top[:, None] + torch.arange(height, device=device)  # [b, H]
        plane = down[:, :, None] * wide[:, None, None] + (left[:, None] + step)[:, None, :]  # [b, H, W]
        planes = torch.arange(channels, device=device) * (tall * wide)[:, None]  # [b, C]
        first = self.starts[rows][:, None] + planes  # [b, C]
        return self.pixels[first[:, :, None, None] + plane[:, None]]


def hold_out(x: Tensor, labels: Tensor, validation: int, choice: Choice, flip: bool) -> dict[str, Source]:
    """The sources `train` and, of the samples held out, `validation`; only `train` if `validation` is 0.

    Args:
        x: [N, *shape].
        labels: [N].
        validation: the number of samples to hold out.
        choice: last, those at the end; random, the same ones in every run.
        flip: mirror half of the training samples.

    Raises:
        ConfigError: no sample would be left to train on.
    """
    if validation == 0:
        return {"train": Memory(x, labels, flip)}
    require(validation < len(x), ".validation", validation, f"holds out all {len(x)} samples", "lower it")
    order = torch.arange(len(x))
    if choice == "random":
        order = torch.randperm(len(x), generator=seeded_generator("validation"))
    kept, held = order[:-validation].sort().values, order[-validation:]
    return {"train": Memory(x[kept], labels[kept], flip), "validation": Memory(x[held], labels[held], flip)}


def send(x: Tensor, device: torch.device) -> Tensor:
    """A batch on a device; the host does not wait for a copy to a GPU."""
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def labels_at(labels: Tensor | None, rows: Tensor | list[int]) -> Tensor | None:
    """The labels in these rows; None without labels."""
    return None if labels is None else labels[rows]
