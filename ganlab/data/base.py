"""Training data: the facts of a data set, its training batches without an end, and sweeps over its splits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Literal

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import proportional_classes, seeded_generator
from ganlab.data.densities import Mixture
from ganlab.data.labelled import Labelled, LabelledPlan, Pairs
from ganlab.data.sampler import BatchIndices, Plan, StageSampler
from ganlab.data.sources import LabelledBatch, Samples, Source, send, send_labels

Split = Literal["train", "validation", "test"]
ValueRange = tuple[float, float] | None  # of the values of a sample; None: unbounded


class Data:
    """A data set: the facts that networks are built from, and its samples. Subclasses only find the sources.

    Raises:
        ConfigError: a batch size above the number of training samples.
    """

    shape: tuple[int, ...]  # of one sample: (C, H, W), or (D,)
    num_classes: int | None
    class_names: tuple[str, ...] | None = None  # by label; None: classes have numbers only
    value_range: ValueRange  # (-1, 1) or (0, 1) for images; None: unbounded
    batch_size: int  # of the global batch, all processes together
    labelled: Labelled | None = None  # samples whose labels a second stream shows
    distribution: Mixture | None = None  # what the samples are drawn from, where that is known
    skipped: Sequence[str] = ()  # files that were passed over, so far

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None,
        value_range: ValueRange,
        batch_size: int,
        sources: Mapping[str, Source],
        origins: Mapping[str, Source] | None = None,
    ):
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.value_range = value_range
        self.batch_size = batch_size
        self.sources = sources
        self.origins = origins or sources  # what the sources were read from, where that is something else
        self.check_batch_size(1, batch_size)

    def __len__(self) -> int:
        """The number of training samples."""
        return len(self.sources["train"])

    def fingerprint(self) -> str:
        """SHA-256 of the samples of all splits, not of where they lie; of files as `Files.contents` says."""
        digest = sha256()
        for split, source in sorted(self.origins.items()):
            for part in (split, *source.contents()):
                named = part if isinstance(part, str) else f"{part.dtype} {tuple(part.shape)}"
                digest.update(os.fsencode(named) + b"\0")
                if isinstance(part, Tensor):
                    digest.update(part.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def check_batch_size(self, world_size: int, batch_size: int) -> None:
        """Refuses a global batch that is too large, or does not divide among so many processes."""
        if batch_size > len(self):
            raise ConfigError(
                f"data.batch_size={batch_size} exceeds the {len(self)} training samples: lower it"
            )
        if batch_size % world_size:
            raise ConfigError(
                f"data.batch_size={batch_size} does not divide among {world_size} processes: "
                "make it a multiple of them"
            )

    def class_counts(self, split: Split = "train") -> list[int] | None:
        """How many samples of a split each class has; None where there are no classes, or no such split."""
        labels = self.sources[split].labels if split in self.sources else None
        if labels is None or not self.num_classes:
            return None
        return torch.bincount(labels.cpu(), minlength=self.num_classes).tolist()

    def proportional_labels(self, n: int, split: Split = "train") -> Tensor | None:
        """Classes [n] as often as a split has them, the same in every run; None as `class_counts`."""
        counts = self.class_counts(split)
        return None if counts is None else proportional_classes(counts, n)

    def mean(self) -> Tensor:
        """The mean training sample, [*shape] float64; reads them all."""
        return sum(x.double().sum(0) for x, _ in self.split("train", "cpu", 1000)) / len(self)  # type: ignore[return-value]

    def stream(
        self,
        seed: int,
        start: Callable[[], int],
        device: torch.device | str,
        rank: int = 0,
        world_size: int = 1,
        phases: Sequence[tuple[int, int]] = (),
    ) -> Iterable[Samples | LabelledBatch]:
        """Training batches start(), start() + 1, ...: x [b, *shape] float32, labels [b] int64 or None.

        Where some samples are `labelled`, as many of these and their labels follow in the same tuple.

        Global batch k is a function of (seed, k); rank r of n gets its rows r * b to (r + 1) * b, where
        b = batch_size / n. What is held in memory is moved to the device here. In a run of several stages,
        `phases` are how many batches each has and of which size; there is no end to the last.

        Raises:
            ConfigError: a batch size is no multiple of the number of processes, or is too large.
        """
        source, device = self.sources["train"], torch.device(device)
        phases = phases or [(0, self.batch_size)]
        for _, batch_size in phases:
            self.check_batch_size(world_size, batch_size)
        source.move(device)

        def stream(plan: Callable[[int, int, int, bool], Plan]) -> Stream:
            plans = [(plan(size, rank, world_size, source.augments), length) for length, size in phases]
            return Stream(source, StageSampler(plans), start, device, self.value_range)

        batches = stream(partial(Plan, seed, len(source)))
        if self.labelled is None:
            return batches
        return Pairs(batches, stream(partial(LabelledPlan, self.labelled.rows(seed), seed)))

    def split(self, name: Split, device: torch.device | str, batch_size: int) -> Iterator[Samples]:
        """Every sample of a split once, in a fixed order, not augmented; the last batch may be smaller.

        Raises:
            ConfigError: there is no such split, or the batch size is below 1.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} of a split is too small: set it to 1 or more")
        if name not in self.sources:
            more = ", or hold some out with data.validation" if name == "validation" else ""
            raise ConfigError(f"the data have no split {name!r}: choose from {', '.join(self.sources)}{more}")
        return delivered(self.sources[name].sweep(batch_size), torch.device(device), self.value_range)

    def subset(self, name: Split, n: int, device: torch.device | str, batch_size: int) -> Iterator[Samples]:
        """At most n samples of a split, not augmented, the same ones in every run; no others are read.

        Raises:
            ConfigError: as `split`.
        """
        everything = self.split(name, device, batch_size)
        size = len(self.sources[name])
        if n >= size:
            return everything
        rows = torch.randperm(size, generator=seeded_generator("evaluation", name))[:n]
        return self.samples_at(name, rows, device, batch_size)

    def samples_at(
        self, name: Split, rows: Tensor, device: torch.device | str, batch_size: int
    ) -> Iterator[Samples]:
        """The samples in these rows [n] of a split, not augmented."""
        batches = self.sources[name].batches(BatchIndices(part, None) for part in rows.split(batch_size))
        return delivered(batches, torch.device(device), self.value_range)


@dataclass
class Stream:
    """Training batches without an end; every `iter` begins at batch `start()`.

    The position is asked for and never kept: a loader that counts for itself is ahead of the game after a
    resume wherever something fetches a batch before it is played.
    """

    source: Source
    plan: StageSampler
    start: Callable[[], int]
    device: torch.device
    value_range: ValueRange

    def __iter__(self) -> Iterator[Samples]:
        batches = self.source.batches(self.plan.since(self.start()))
        return delivered(batches, self.device, self.value_range)


def delivered(batches: Iterator[Samples], device: torch.device, value_range: ValueRange) -> Iterator[Samples]:
    """The batches on a device and in float32: bytes travel, a quarter of what floats would be."""
    for x, labels in batches:
        yield scale(send(x, device), value_range), send_labels(labels, device)


def scale(x: Tensor, value_range: ValueRange) -> Tensor:
    """uint8 to float32, 0 to the low end and 255 to the high end exactly; unbounded samples as they are."""
    if value_range is None:
        return x
    low, high = value_range
    return x.float().mul_((high - low) / 255).add_(low)
