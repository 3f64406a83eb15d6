"""Where samples lie and how a batch of them is made: what a source promises, and the two held in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import seeded_generator
from ganlab.data.sampler import BatchIndices, flips, in_order, no_augmentation, offset

Choice = Literal["last", "random"]  # of the samples that are held out
Samples = tuple[Tensor, Tensor | None]  # x [b, *shape] uint8 or float32; labels [b] int64
LabelledBatch = tuple[Tensor, Tensor | None, Tensor, Tensor | None]  # a batch, and the labelled one beside it


class Source(ABC):
    """The samples of one split, wherever they lie."""

    augments: bool  # whether a training batch leaves anything to chance
    labels: Tensor | None  # [N]

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are to draw from."""

    def move(self, device: torch.device) -> None:
        """Moves to `device` what is held in memory, so that a batch is an index operation there."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    @abstractmethod
    def batches(self, requests: Iterator[BatchIndices]) -> Iterator[Samples]:
        """One batch per request, augmented as its chance says."""

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        """Every sample once, in a fixed order, not augmented; the last batch may be smaller."""
        return self.batches(in_order(len(self), batch_size))

    @abstractmethod
    def contents(self) -> Iterator[Tensor | str]:
        """What tells these samples from others, wherever they lie; nothing large is read for it."""


class Memory(Source):
    """Samples of one size: x [N, *shape] uint8 or float32, labels [N]; `flip` mirrors half of them."""

    def __init__(self, x: Tensor, labels: Tensor | None, flip: bool):
        self.x = x
        self.labels = labels
        self.augments = flip

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, requests: Iterator[BatchIndices]) -> Iterator[Samples]:
        for rows, chance in requests:
            here = send(rows, self.x.device)
            x = self.x[here]  # [b, *shape]
            if chance is not None:
                flipped = flips(send(chance, x.device))[:, None, None, None]  # [b, 1, 1, 1]
                x = torch.where(flipped, x.flip(-1), x)
            yield x, pick(self.labels, here)

    def contents(self) -> Iterator[Tensor | str]:
        return present(self.x, self.labels)


def hold_out(x: Tensor, labels: Tensor, validation: int, choice: Choice, flip: bool) -> dict[str, Source]:
    """The training samples as sources train and validation; all are for training where `validation` is 0.

    choice: last, the end of the file, or random, the same choice in every run.

    Raises:
        ConfigError: all of the samples are held out.
    """
    if validation == 0:
        return {"train": Memory(x, labels, flip)}
    if validation >= len(x):
        raise ConfigError(
            f"data.validation={validation} leaves none of {len(x)} samples to train on: lower it"
        )
    order = torch.arange(len(x))
    if choice == "random":
        order = torch.randperm(len(x), generator=seeded_generator("validation"))
    kept, held = order[:-validation].sort().values, order[-validation:]
    return {"train": Memory(x[kept], labels[kept], flip), "validation": Memory(x[held], labels[held], flip)}


class VariableSizeImages(Source):
    """Images of many sizes, each at least [C, H, W] = `shape`, of which a batch takes random windows."""

    def __init__(self, images: Sequence[Tensor], labels: Tensor | None, shape: tuple[int, ...], flip: bool):
        self.pixels = torch.cat([image.flatten() for image in images])  # [sum of all C * h * w] uint8
        self.sizes = torch.tensor([image.shape[1:] for image in images])  # [N, 2] h, w
        lengths = shape[0] * self.sizes.prod(1)  # [N]
        self.starts = lengths.cumsum(0) - lengths  # [N]
        self.labels = labels
        self.shape = shape
        self.flip = flip
        self.augments = True

    def __len__(self) -> int:
        return len(self.sizes)

    def batches(self, requests: Iterator[BatchIndices]) -> Iterator[Samples]:
        for rows, chance in requests:
            here = send(rows, self.pixels.device)
            yield self._windows(here, chance), pick(self.labels, here)

    def contents(self) -> Iterator[Tensor | str]:
        return present(self.pixels, self.sizes, self.labels)

    def _windows(self, index: Tensor, chance: Tensor | None) -> Tensor:
        """All windows in one gather, [b, C, H, W]: no loop over images."""
        channels, height, width = self.shape
        device = self.pixels.device
        chance = no_augmentation(len(index), device) if chance is None else send(chance, device)
        tall, wide = self.sizes[index].T  # [b], [b]
        rows = offset(chance[:, 1], tall - height)[:, None] + torch.arange(height, device=device)  # [b, H]
        step = torch.arange(width, device=device).expand(len(index), width)  # [b, W]
        if self.flip:
            step = torch.where(flips(chance)[:, None], width - 1 - step, step)
        columns = offset(chance[:, 2], wide - width)[:, None] + step  # [b, W]
        plane = rows[:, :, None] * wide[:, None, None] + columns[:, None, :]  # [b, H, W]
        below = torch.arange(channels, device=device) * (tall * wide)[:, None]  # [b, C]
        first = self.starts[index][:, None] + below  # [b, C]
        return self.pixels[first[:, :, None, None] + plane[:, None]]


def send(x: Tensor, device: torch.device) -> Tensor:
    """A batch's tensor on a device; a GPU takes it over while the host goes on."""
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def send_labels(labels: Tensor | None, device: torch.device) -> Tensor | None:
    """Labels, where there are any, on a device."""
    return None if labels is None else send(labels, device)


def pick(labels: Tensor | None, rows: Tensor | list[int]) -> Tensor | None:
    """The labels of some samples, where there are any."""
    return None if labels is None else labels[rows]


def present(*tensors: Tensor | None) -> Iterator[Tensor]:
    """The tensors that are there."""
    return (tensor for tensor in tensors if tensor is not None)
