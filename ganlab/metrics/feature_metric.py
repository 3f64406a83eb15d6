"""Base classes of metrics on extracted features."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, defaultdict
from typing import ClassVar

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, require
from ganlab.core.randomness import seeded_generator
from ganlab.data.base import Data, Split
from ganlab.metrics.base import ProtocolFields, SampleMetric, short_number
from ganlab.metrics.extractors import classifier
from ganlab.metrics.features import Extractor, cached


class FeatureMetric(SampleMetric):
    """Base class of metrics on the output of an extractor.

    Values are named kind/extractor_split_n, where n is the number of generated samples.

    Args:
        extractor: a network, or the name of a classifier in `ganlab/metrics/weights`.
        references: the splits of the real images; the first is the one that `evaluation.n_real` limits.
    """

    kinds: ClassVar[tuple[str, ...]]  # one for each value, such as "fid"

    def __init__(self, extractor: str | Extractor, *references: Split):
        self.extractor = cached(classifier(extractor) if isinstance(extractor, str) else extractor)
        self.references = references
        self.subsampled_split = next(iter(references), None)
        self.baseline_split = "train" if references == ("test",) else "test"
        self.counts: Counter[Split | None] = Counter()  # samples passed so far; None: generated ones
        self._set_names()

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        self._set_names(short_number(n_fake))
        self.check_sample_size(n_fake, n_real)  # before a network is loaded
        self.observe(torch.zeros(1, *data.shape))  # raises an error for other shapes
        self.check_sample_size(n_fake, n_real)  # the number of classes is known only now

    def update(self, x: Tensor, split: Split | None = None) -> None:
        self.add(self.observe(x), split)
        self.counts[split] += len(x)

    def compute(self) -> dict[str, float]:
        self.check_sample_size(self.counts[None], self.n_real)
        return dict(zip(self.names, self.values(), strict=True))

    def reset(self) -> None:
        del self.counts[None]
        self.forget()

    def protocol(self) -> ProtocolFields:
        sizes = {"n_real": self.n_real, "n_fake": self.counts[None]}
        return {**self.extractor.protocol(), **sizes, **self.settings()}

    @property
    def n_real(self) -> int:
        """The number of images of the first reference."""
        return sum(self.counts[split] for split in self.references[:1])

    def observe(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the metric needs of images [N, C, H, W], on the CPU: by default their features [N, F]."""
        return (self.extractor.extract(x).features,)

    @abstractmethod
    def add(self, observed: tuple[Tensor, ...], split: Split | None) -> None:
        """Adds what was observed of real samples of a split, or of generated ones (None)."""

    @abstractmethod
    def forget(self) -> None:
        """Drops what was observed of generated samples."""

    @abstractmethod
    def values(self) -> tuple[float, ...]:
        """One value for each kind."""

    def settings(self) -> ProtocolFields:
        """The settings of the metric that change its values, for the protocol."""
        return {}

    def require_samples(
        self, least: int, reason: str, remedy: str, key: str = "", value: object = UNSET, **found: int
    ) -> None:
        """Refuses numbers of samples, given by their kind, below the least; `remedy` may contain {n}."""
        for kind, n in found.items():
            more = f"use more samples, or {remedy.format(n=n)}"
            require(n >= least, key, value, f"{reason}, and there are {n} {kind} ones", more)

    def _set_names(self, *n_fake: str) -> None:
        suffix = "_".join([self.extractor.network.name, *self.references[:1], *n_fake])
        self.names = tuple(f"{kind}/{suffix}" for kind in self.kinds)


class ReservoirMetric(FeatureMetric):
    """Base class of metrics that need all observed rows, or a random subset of them, at once."""

    limit: int | None = None  # rows of each kind of samples that are kept; None: all

    def __init__(self, extractor: str | Extractor, *references: Split):
        super().__init__(extractor, *references)
        self._kept: dict[Split | None, list[Reservoir]] = defaultdict(list)

    def add(self, observed: tuple[Tensor, ...], split: Split | None) -> None:
        self._kept[split] = self._kept[split] or [Reservoir(self.limit) for _ in observed]
        for reservoir, rows in zip(self._kept[split], observed, strict=True):
            reservoir.add(rows)

    def forget(self) -> None:
        self._kept.pop(None, None)

    def rows(self, split: Split | None, part: int = 0) -> Tensor:
        """The kept rows [N, F] of one part of what was observed."""
        return self._kept[split][part].rows


class Reservoir:
    """All rows that were added, or a uniformly random subset of `limit` of them, so that memory is bounded.

    Row i > limit replaces a random kept row with probability limit / i (Vitter 1985, algorithm R). The subset
    is a function of the rows' number and order.
    """

    def __init__(self, limit: int | None = None):
        self.limit = limit
        self._parts: list[Tensor] = []
        self._num_added = 0
        self._generator = seeded_generator("features")

    def add(self, rows: Tensor) -> None:
        """Adds rows [N, F]."""
        free = len(rows) if self.limit is None else max(self.limit - self._num_added, 0)
        if free:
            self._parts.append(rows[:free].clone())
            self._num_added += len(rows[:free])
        for row in rows[free:]:
            self._num_added += 1
            index = int(torch.randint(self._num_added, (), generator=self._generator))
            if index < len(self.rows):
                self.rows[index] = row

    @property
    def rows(self) -> Tensor:
        """The kept rows, [N, F]."""
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        return self._parts[0]
