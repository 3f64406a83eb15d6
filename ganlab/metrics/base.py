"""Base classes of metrics: those of generated samples, and those of the features of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, require
from ganlab.core.randomness import seeded_generator
from ganlab.data.base import Data, Split
from ganlab.game import Game
from ganlab.metrics.extractors import classifier
from ganlab.metrics.features import Extractor, ProtocolFields, cached


class SampleMetric(ABC):
    """Base class of metrics of generated samples, most of which compare them with real samples.

    `setup` is called first. Then real samples are passed to `update`, once in a run. Each evaluation passes
    generated samples to `update`, calls `compute`, and then `reset`, which keeps the real samples. All
    samples are passed to the metric in one process, so it must not wait for other ranks.

    Errors have keys relative to the metric, such as ".k", or no key; `Evaluation` completes them to
    `metric.<name>.k` and `metric=<name>`.
    """

    names: tuple[str, ...]  # the keys of `compute`, such as "fid/digits_train_1k"; final after `setup`
    higher_is_better: bool
    references: tuple[Split, ...] = ("train",)  # the splits whose samples are passed to `update` as real ones
    subsampled_split: Split | None = None  # the reference that is limited to `evaluation.n_real` samples
    floor_split: Split = "test"  # the split whose samples, passed as generated ones, give the floor
    input_kind: ClassVar[Literal["images", "points"]] = "images"  # images are passed in [0, 1]
    needs_game: ClassVar[bool] = False  # whether `observe_game` measures the game itself
    uses_samples: ClassVar[bool] = True  # whether generated samples influence the values
    extras: Mapping[str, float] = {}  # further results of the last `compute`, such as a standard deviation

    def is_higher_better(self, name: str) -> bool:
        """Whether a higher value is better for the value of this name."""
        return self.higher_is_better

    @abstractmethod
    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        """Checks the data and the numbers of generated and real samples, before any samples are passed.

        Raises:
            ConfigError: the metric cannot measure these data, or these are too few samples.
        """

    def check_sample_size(self, n_fake: int, n_real: int) -> None:  # noqa: B027, a hook
        """Checks that there are enough samples.

        Raises:
            ConfigError: there are too few samples for a meaningful value.
        """

    @abstractmethod
    def update(self, x: Tensor, split: Split | None = None) -> None:
        """Adds samples.

        Args:
            x: samples [N, *shape] on any device; images lie in [0, 1].
            split: the split from which real samples come, one of `references`; None: samples are generated.

        Raises:
            ConfigError: the metric cannot measure samples of this shape, type or range.
        """

    def check_game(self, game: Game) -> None:  # noqa: B027, a hook
        """Checks that the game has what the metric measures.

        Raises:
            ConfigError: the game lacks it.
        """

    def observe_game(self, game: Game, seed: int) -> None:  # noqa: B027, a hook
        """Measures the game itself, for metrics that need more than generated samples.

        Args:
            seed: the seed of the latents, if the metric draws samples.
        """

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The values by name, a function of the samples and their order.

        Raises:
            ConfigError: too few samples were passed.
        """

    @abstractmethod
    def reset(self) -> None:
        """Drops the generated samples; the real ones are kept."""

    @abstractmethod
    def protocol(self) -> ProtocolFields:
        """How the values are computed. Values of different protocols are not comparable."""


def short_number(n: int) -> str:
    """A number as a part of a name: 1000 as "1k", 1500 as "1500"."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)


class FeatureMetric(SampleMetric):
    """Base class of metrics of features of images, the output of an extractor.

    Values are named kind/extractor_split_n, such as "fid/inception_train_10k", where n is the number of
    generated samples.

    Args:
        extractor: a network, or the name of a classifier in `ganlab/metrics/weights`.
        references: the splits of the real images; the first is the one that `evaluation.n_real` limits.
    """

    kinds: ClassVar[tuple[str, ...]]  # the kinds of values, such as "fid"
    settings: Mapping[str, int | str] = {}  # the settings that change the values, for the protocol

    def __init__(self, extractor: str | Extractor, *references: Split):
        self.extractor = cached(classifier(extractor) if isinstance(extractor, str) else extractor)
        self.references = references
        self.subsampled_split = next(iter(references), None)
        self.floor_split = "train" if references == ("test",) else "test"
        self.num_samples: Counter[Split | None] = Counter()  # by split, with None for generated ones
        self._set_names()

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        self._set_names(short_number(n_fake))
        self.check_sample_size(n_fake, n_real)  # raises most errors before a network is loaded
        self.observe(torch.zeros(1, *data.shape))  # raises an error if the shape is unsuitable
        self.check_sample_size(n_fake, n_real)  # again, now that the number of classes is known

    def update(self, x: Tensor, split: Split | None = None) -> None:
        self.add(self.observe(x), split)
        self.num_samples[split] += len(x)

    def compute(self) -> dict[str, float]:
        self.check_sample_size(self.num_samples[None], self.n_real)
        return dict(zip(self.names, self.values(), strict=True))

    def reset(self) -> None:
        del self.num_samples[None]
        self.forget()

    def protocol(self) -> ProtocolFields:
        sizes = {"n_real": self.n_real, "n_fake": self.num_samples[None]}
        return {**self.extractor.protocol(), **sizes, **self.settings}

    @property
    def n_real(self) -> int:
        """The number of images that were passed of the first reference."""
        return sum(self.num_samples[split] for split in self.references[:1])

    def observe(self, x: Tensor) -> tuple[Tensor, ...]:
        """The tensors that the metric uses of images [N, C, H, W], on the CPU: by default features [N, F]."""
        return (self.extractor.extract(x).features,)

    @abstractmethod
    def add(self, observed: tuple[Tensor, ...], split: Split | None) -> None:
        """Adds the result of `observe` for real samples of a split, or for generated ones (None)."""

    @abstractmethod
    def forget(self) -> None:
        """Drops what was added of generated samples."""

    @abstractmethod
    def values(self) -> tuple[float, ...]:
        """The values, one for each of `kinds`."""

    def require_samples(
        self, least: int, reason: str, remedy: str, key: str = "", value: object = UNSET, **num_samples: int
    ) -> None:
        """Raises a `ConfigError` if there are too few samples.

        Args:
            least: the least number of samples of each kind.
            reason: why so many are needed.
            remedy: an alternative to more samples; "{n}" in it becomes the number of samples.
            key, value: the setting that is to blame.
            num_samples: the number of samples of each kind, `real` or `generated`.
        """
        for kind, n in num_samples.items():
            more = f"use more samples, or {remedy.format(n=n)}"
            require(n >= least, key, value, f"{reason}, and there are {n} {kind} ones", more)

    def _set_names(self, *n_fake: str) -> None:
        suffix = "_".join([self.extractor.network.name, *self.references[:1], *n_fake])
        self.names = tuple(f"{kind}/{suffix}" for kind in self.kinds)


class ReservoirMetric(FeatureMetric):
    """Base class of metrics that need all observed rows, or a random subset of them, at once."""

    limit: int | None = None  # the number of rows that are kept of each kind of samples; None: all

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
        """The kept rows [N, F] of one of the tensors that `observe` returns, by its index `part`."""
        return self._kept[split][part].rows


class Reservoir:
    """A store of all added rows, or of a uniformly random subset of `limit` of them, which bounds memory.

    Row i > limit replaces a random kept row with probability limit / i (Vitter 1985, algorithm R). The subset
    depends only on the number and the order of the rows.
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
