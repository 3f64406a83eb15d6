"""Training data: what a data set promises, in which order its samples are met, and small sets in memory."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ganlab.errors import Refused
from ganlab.randomness import generator

Samples = tuple[Tensor, Tensor | None]  # x [b, *shape] uint8, or float32 where unbounded; labels [b] int64
Range = tuple[float, float] | None
Fact = int | Sequence[float] | None  # one that a config declares


class Request(NamedTuple):
    """One process's rows of one global batch, on the CPU, where worker processes can read it."""

    rows: Tensor  # [b] which samples
    chance: Tensor | None  # [b, 3] uniform in [0, 1): flip, top, left; None: nothing is left to chance


class Plan:
    """Batch k as a function of (seed, k): an epoch is a permutation, whose incomplete rest is dropped."""

    def __init__(self, seed: int, size: int, batch_size: int, rank: int, world_size: int, augments: bool):
        self.seed = seed
        self.size = size
        self.batch_size = batch_size
        self.rows = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self.augments = augments
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def since(self, k: int) -> Iterator[Request]:
        """The requests k, k + 1, ... without an end."""
        return map(self.request, itertools.count(k))

    def request(self, k: int) -> Request:
        """This process's rows of global batch k."""
        epoch, batch = divmod(k, self.size // self.batch_size)
        if epoch != self._epoch:
            # Permutations are drawn on the CPU whatever the device, so that they are the same everywhere.
            self._order = torch.randperm(self.size, generator=generator(self.seed, "data", epoch))
            self._epoch = epoch
        batch_order = self._order[batch * self.batch_size : (batch + 1) * self.batch_size]  # [B]
        return Request(batch_order[self.rows], self._chance(k))

    def _chance(self, k: int) -> Tensor | None:
        if not self.augments:
            return None
        numbers = torch.rand(self.batch_size, 3, generator=generator(self.seed, "augment", k))
        return numbers[self.rows]


def in_order(size: int, batch_size: int) -> Iterator[Request]:
    """Requests for every sample once; the last may be smaller."""
    for first in range(0, size, batch_size):
        yield Request(torch.arange(first, min(first + batch_size, size)), None)


class Source(ABC):
    """The samples of one split, wherever they lie."""

    augments: bool  # whether a training batch leaves anything to chance

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are to draw from."""

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Moves to `device` what is held in memory, so that a batch is an index operation there."""

    @abstractmethod
    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        """One batch per request, augmented."""

    @abstractmethod
    def sweep(self, batch_size: int) -> Iterator[Samples]:
        """Every sample once, in a fixed order, not augmented; the last batch may be smaller."""


class Memory(Source):
    """Samples of one size: x [N, *shape] uint8 or float32, labels [N]; `flip` mirrors half of them."""

    def __init__(self, x: Tensor, labels: Tensor | None, flip: bool):
        self.x = x
        self.labels = labels
        self.augments = flip

    def __len__(self) -> int:
        return len(self.x)

    def move(self, device: torch.device) -> None:
        self.x, self.labels = self.x.to(device), labels_to(self.labels, device)

    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        for rows, chance in requests:
            here = send(rows, self.x.device)
            x = self.x[here]  # [b, *shape]
            if chance is not None:
                flipped = flips(send(chance, x.device))[:, None, None, None]  # [b, 1, 1, 1]
                x = torch.where(flipped, x.flip(-1), x)
            yield x, None if self.labels is None else self.labels[here]

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        return self.batches(in_order(len(self), batch_size))


class Ragged(Source):
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

    def move(self, device: torch.device) -> None:
        self.pixels, self.sizes = self.pixels.to(device), self.sizes.to(device)
        self.starts, self.labels = self.starts.to(device), labels_to(self.labels, device)

    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        for rows, chance in requests:
            here = send(rows, self.pixels.device)
            yield self._windows(here, chance), None if self.labels is None else self.labels[here]

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        return self.batches(in_order(len(self), batch_size))

    def _windows(self, index: Tensor, chance: Tensor | None) -> Tensor:
        """All windows in one gather, [b, C, H, W]: no loop over images."""
        channels, height, width = self.shape
        device = self.pixels.device
        chance = still(len(index), device) if chance is None else send(chance, device)
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


def still(n: int, device: torch.device | str = "cpu") -> Tensor:
    """The chance of n samples to which nothing happens: not flipped, cut in the middle; [n, 3]."""
    return torch.full((n, 3), 0.5, device=device)


def flips(chance: Tensor) -> Tensor:
    """Which samples are mirrored, [b] bool, from chance [b, 3]."""
    return chance[:, 0] < 0.5


def offset(chance: Tensor, spare: Tensor) -> Tensor:
    """Where a window begins that has `spare` pixels of room: 0 to spare, equally likely; same shape."""
    # float32 on purpose: files are cut one at a time, memory at once, and both must round alike.
    return (chance * (spare + 1)).long().minimum(spare)


def send(x: Tensor, device: torch.device) -> Tensor:
    """A batch's tensor on a device; a GPU takes it over while the host goes on."""
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def labels_to(labels: Tensor | None, device: torch.device) -> Tensor | None:
    """Labels, where there are any, on a device."""
    return None if labels is None else send(labels, device)


def scale(x: Tensor, value_range: Range) -> Tensor:
    """uint8 to float32, 0 to the low end and 255 to the high end exactly; unbounded samples as they are."""
    if value_range is None:
        return x
    low, high = value_range
    return x.float().mul_((high - low) / 255).add_(low)


def image_range(declared: Sequence[float] | None) -> tuple[float, float]:
    """The range of images as a pair.

    Raises:
        Refused: it is neither [-1, 1] nor [0, 1], the two that generators end in.
    """
    if declared is None or list(declared) not in ([-1, 1], [0, 1]):
        raise Refused(f"data.range={shown(declared)} does not suit images: set data.range=[-1,1] or [0,1]")
    return float(declared[0]), float(declared[1])


def agree(name: str, declared: Fact, found: Fact) -> None:
    """Refuses a declared fact that the data contradict: networks are built from it, without the data."""
    if shown(declared) != shown(found):
        raise Refused(f"data.{name}={shown(declared)} contradicts the data: set data.{name}={shown(found)}")


def at_least(least: int, **settings: float) -> None:
    """Refuses settings of the data, by name, that are below what makes sense."""
    for name, value in settings.items():
        if value < least:
            raise Refused(f"data.{name}={value} is too small: set it to {least} or more")


def shown(fact: Fact) -> str:
    """A fact as the command line takes it."""
    if fact is None:
        return "null"
    return str(fact) if isinstance(fact, int) else f"[{','.join(f'{part:g}' for part in fact)}]"


@dataclass
class Stream:
    """Training batches without an end; every `iter` begins at batch `start()`.

    The position is asked for and never kept: a loader that counts for itself is one batch ahead of the
    game after a resume, since the loop fetches one batch before it is played.
    """

    source: Source
    plan: Plan
    start: Callable[[], int]
    device: torch.device
    value_range: Range

    def __iter__(self) -> Iterator[Samples]:
        batches = self.source.batches(self.plan.since(self.start()))
        return delivered(batches, self.device, self.value_range)


def delivered(batches: Iterator[Samples], device: torch.device, value_range: Range) -> Iterator[Samples]:
    """The batches on a device and in float32: bytes travel, a quarter of what floats would be."""
    for x, labels in batches:
        yield scale(send(x, device), value_range), labels_to(labels, device)


class Data:
    """A data set: the facts that networks are built from, and its samples. Subclasses only find the sources.

    Raises:
        Refused: a batch size below 1, or above the number of training samples.
    """

    shape: tuple[int, ...]  # of one sample: (C, H, W), or (D,)
    num_classes: int | None
    value_range: Range  # (-1, 1) or (0, 1) for images; None: unbounded
    batch_size: int  # of the global batch, all processes together

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None,
        value_range: Range,
        batch_size: int,
        sources: Mapping[str, Source],
    ):
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.value_range = value_range
        self.batch_size = batch_size
        self.sources = dict(sources)
        at_least(1, batch_size=batch_size)
        if batch_size > len(self):
            raise Refused(f"data.batch_size={batch_size} exceeds the {len(self)} training samples: lower it")

    @property
    def offers(self) -> frozenset[str]:
        """What tricks and objectives may need: "labels" where there are classes."""
        return frozenset() if self.num_classes is None else frozenset({"labels"})

    def __len__(self) -> int:
        """The number of training samples."""
        return len(self.sources["train"])

    def stream(
        self,
        seed: int,
        start: Callable[[], int],
        device: torch.device | str,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterable[Samples]:
        """Training batches start(), start() + 1, ...: x [b, *shape] float32, labels [b] int64 or None.

        Global batch k is a function of (seed, k); rank r of n gets its rows r * b to (r + 1) * b, where
        b = batch_size / n. Small sets are moved to the device here.

        Raises:
            Refused: the batch size is no multiple of the number of processes.
        """
        if self.batch_size % world_size:
            raise Refused(
                f"data.batch_size={self.batch_size} does not divide among {world_size} processes: "
                "make it a multiple of them"
            )
        source, device = self.sources["train"], torch.device(device)
        source.move(device)
        plan = Plan(seed, len(source), self.batch_size, rank, world_size, source.augments)
        return Stream(source, plan, start, device, self.value_range)

    def split(
        self, name: Literal["train", "test"], device: torch.device | str, batch_size: int
    ) -> Iterator[Samples]:
        """Every sample of a split once, in a fixed order, not augmented; the last batch may be smaller.

        Raises:
            Refused: there is no such split, or the batch size is below 1.
        """
        if batch_size < 1:
            raise Refused(f"batch_size={batch_size} of a split is too small: set it to 1 or more")
        if name not in self.sources:
            raise Refused(f"the data have no split {name!r}: choose from {', '.join(self.sources)}")
        return delivered(self.sources[name].sweep(batch_size), torch.device(device), self.value_range)
