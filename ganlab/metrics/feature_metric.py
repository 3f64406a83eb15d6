"""Base class of metrics on extracted features."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import seeded_generator
from ganlab.data.base import Data, Split
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.feature_cache import Features
from ganlab.metrics.features import Extractor, cached, classifier


class FeatureMetric(SampleMetric):
    """Numbers of what an extractor sees in images, called kind/extractor_split_number of fakes.

    Args:
        extractor: the name of a classifier that lies beside the metrics, or a network.
        split: whose images are the reals; None: no reals are looked at.
    """

    kinds: ClassVar[tuple[str, ...]]  # such as "fid"

    def __init__(self, extractor: str | Extractor, split: Split | None):
        self.extractor = cached(classifier(extractor) if isinstance(extractor, str) else extractor)
        self.references = () if split is None else (split,)
        self.subsampled_split = split
        self.baseline_split = "train" if split == "test" else "test"
        self.n_real = self.n_fake = 0  # seen so far
        self.num_classes = 0  # of the extractor; 0: not yet known, or it tells none
        self.names = self._called()

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        self._named(n_fake)
        self.check_sample_size(n_fake, n_real)  # before a network is read
        seen = self.extractor.extract(torch.zeros(1, *data.shape))  # refuses a shape at once
        self.num_classes = seen.logits.shape[1]
        self.check_sample_size(n_fake, n_real)

    def update(self, x: Tensor, real: bool) -> None:
        if real and not self.references:
            return
        self.take(self.extractor.extract(x), real)
        self.n_real += len(x) if real else 0
        self.n_fake += 0 if real else len(x)

    def compute(self) -> dict[str, float]:
        self.check_sample_size(self.n_fake, self.n_real)
        return dict(zip(self.names, self.numbers(), strict=True))

    def reset(self) -> None:
        self.n_fake = 0

    def protocol(self) -> dict[str, str | int | float]:
        return {**self.extractor.protocol(), "n_real": self.n_real, "n_fake": self.n_fake}

    @abstractmethod
    def take(self, seen: Features, real: bool) -> None:
        """Takes what was seen in some more samples, on the CPU."""

    @abstractmethod
    def numbers(self) -> tuple[float, ...]:
        """One for each kind."""

    def needs(self, least: int, why: str, remedy: str, **counts: int) -> None:
        """Refuses counts, by what they count, below the least; `remedy` may name the count as {n}."""
        for kind, n in counts.items():
            if n < least:
                short_of = f"{self.names[0]} of {n} {kind}: {why} need {least} samples or more"
                raise ConfigError(f"{short_of}; give as many, or {remedy.format(n=n)}")

    def _named(self, n_fake: int) -> None:
        self.names = self._called(short(n_fake))

    def _called(self, *more: str) -> tuple[str, ...]:
        how = "_".join([self.extractor.network.name, *self.references[:1], *more])
        return tuple(f"{kind}/{how}" for kind in self.kinds)


class FeatureReservoir:
    """FeatureReservoir of one kind of samples, all or a fair choice of at most `limit`, so memory is flat.

    A sample that comes as the i-th, i > limit, is kept with probability limit / i, in the place of any
    (Vitter 1985, algorithm R); the choice is a function of how many came and in which order.
    """

    def __init__(self, limit: int | None = None):
        self.limit = limit
        self._parts: list[Tensor] = []
        self._came = 0
        self._chance = seeded_generator("features")

    def add(self, features: Tensor) -> None:
        """Some more, [N, F]."""
        free = len(features) if self.limit is None else max(self.limit - self._came, 0)
        if free:
            self._parts.append(features[:free].clone())
            self._came += len(features[:free])
        for row in features[free:]:
            self._came += 1
            place = int(torch.randint(self._came, (), generator=self._chance))
            if place < len(self.rows):
                self.rows[place] = row

    @property
    def rows(self) -> Tensor:
        """[N, F]"""
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        return self._parts[0]


def short(n: int) -> str:
    """1000 as 1k."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)
