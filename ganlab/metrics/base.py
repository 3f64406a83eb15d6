"""Base classes of metrics: of all metrics, and of those that compare the features of images."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, require
from ganlab.core.randomness import seeded_generator
from ganlab.data.base import Data, Split
from ganlab.game import Game
from ganlab.metrics.extractors import classifier
from ganlab.metrics.features import Extractor, ProtocolFields, shared_extractor

# A metric imports from here what its methods receive and return.
__all__ = [
    "GENERATED", "Data", "FeatureMetric", "Game", "GameMetric", "Generated", "ProtocolFields",
    "SampleMetric", "Split", "StoringMetric", "require_enough", "short_number",
]  # fmt: skip
Generated = Literal["generated"]
GENERATED: Generated = "generated"  # stands for generated samples, wherever real samples are given by a split


class SampleMetric(ABC):
    """Base class of all metrics. Most metrics compare generated samples with real samples.

    A few metrics measure the game itself, in `observe_game`, and ignore the samples in `update`.

    The methods are called in this order: `setup`, and `update` with all real samples, once in a run; then, in
    each evaluation, `update` with the generated samples, `observe_game`, `compute`, and `reset`. In a
    distributed run, one process makes all calls, so a metric must not wait for the other processes.

    The errors of a metric have a relative key, such as ".k", or no key. `Evaluation` gives them the full key
    `metric.<name>.k`, or the setting `metric=<name>`.
    """

    names: tuple[str, ...]  # the keys of `compute`, such as "fid/digits_train_1k"; final after `setup`
    higher_is_better: bool
    references: tuple[Split, ...] = ("train",)  # the splits whose real samples are passed to `update`
    # The reference of which at most `evaluation.n_real` samples are passed; None: no reference is limited.
    subsampled_split: Split | None = None
    # A conditional game generates classes in the proportions of this split; None: any proportions will do.
    class_split: Split | None = None
    floor_split: Split = "test"  # the split whose samples replace generated ones to measure the floor
    input_kind: Literal["images", "points"] = "images"  # `update` receives images scaled to [0, 1]
    needs_game: ClassVar[bool] = False  # whether the metric measures the game itself, in `observe_game`
    depends_on_sampling: ClassVar[bool] = True  # whether the values depend on how samples are generated
    extras: Mapping[str, float] = {}  # further results of the last `compute`, such as a standard deviation
    # The floors that the last `compute` has measured itself, by the names of the values, as in records.
    own_floors: Mapping[str, Mapping[str, Any]] = {}

    def higher_is_better_by_name(self) -> dict[str, bool]:
        """For each of `names`, whether higher values are better: `higher_is_better`, unless overridden."""
        return dict.fromkeys(self.names, self.higher_is_better)

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:  # noqa: B027, a hook
        """Prepares the metric for the data of the run and the numbers of samples.

        Args:
            n_fake: the number of generated samples.
            n_real: the number of real samples of `subsampled_split`; 0 if there is no such split.

        Raises:
            ConfigError: the metric cannot measure these data, or there are too few samples.
        """

    def check_sample_size(self, n_fake: int, n_real: int) -> None:  # noqa: B027, a hook
        """Raises `ConfigError` if there are too few samples for a meaningful value."""

    @abstractmethod
    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        """Adds samples [N, *shape] on any device: real ones of a split in `references`, or generated ones.

        Raises:
            ConfigError: the metric cannot measure samples of this shape, type or range.
        """

    def check_game(self, game: Game) -> None:  # noqa: B027, a hook
        """Raises `ConfigError` if the game lacks what the metric measures."""

    def observe_game(self, game: Game, seed: int) -> None:  # noqa: B027, a hook
        """Measures the game itself; `seed` is the seed of the latents, if the metric draws samples."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The values by name. They depend only on the samples and on the order in which they were passed.

        Raises:
            ConfigError: too few samples were passed.
        """

    @abstractmethod
    def reset(self) -> None:
        """Drops the generated samples, and keeps the real ones."""

    @abstractmethod
    def protocol(self) -> ProtocolFields:
        """How the values are computed. Values of different protocols are not comparable."""


def short_number(n: int) -> str:
    """A number as a part of a name: 1000 as "1k", 1500 as "1500"."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)


def require_enough(
    n: int, sizes: Mapping[str, int], reason: str, remedy: str, key: str = "", value: Any = UNSET
) -> None:
    """Raises a `ConfigError` if there are too few samples.

    Args:
        n: the number of samples that are needed of each kind.
        sizes: the number of samples of each kind, by the adjective for the kind: "real" or "generated".
        reason: why so many samples are needed.
        remedy: an alternative to more samples.
    """
    for adjective, size in sizes.items():
        message = f"{reason}, and there are {size} {adjective} ones"
        require(size >= n, message, f"use more samples, or {remedy}", key, value)


class GameMetric(SampleMetric):
    """Base class of metrics that measure the game itself. They have no floor but one of their own."""

    needs_game = True

    @abstractmethod
    def measure(self, game: Game, seed: int) -> float | Sequence[float]:
        """The value for a game, see `observe_game`, or one for each of `names`."""

    def observe_game(self, game: Game, seed: int) -> None:
        self._measured = self.measure(game, seed)

    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        """Does nothing, because the metric draws samples of its own, or none."""

    def compute(self) -> dict[str, float]:
        values = [self._measured] if isinstance(self._measured, float | int) else self._measured
        return dict(zip(self.names, values, strict=True))

    def reset(self) -> None:
        del self._measured


class FeatureMetric(SampleMetric):
    """Base class of metrics that compare the features of images. An extractor computes the features.

    A value is named prefix/extractor_split_n, such as "fid/inception_train_10k". The split is the first
    reference, and n is the number of generated samples.

    Args:
        extractor: a network, or the name of a classifier in `ganlab/metrics/weights`.
        references: the splits of the real images; `evaluation.n_real` limits the size of the first one.
    """

    # The beginnings of the names of the values, such as "fid". `values` gives one value for each.
    name_prefixes: ClassVar[tuple[str, ...]]
    protocol_fields: Mapping[str, int | str] = {}  # entries that a subclass adds to `protocol`

    def __init__(self, extractor: str | Extractor, *references: Split):
        self.extractor = shared_extractor(classifier(extractor) if isinstance(extractor, str) else extractor)
        self.references = references
        self.subsampled_split = references[0] if references else None
        self.class_split = references[0] if len(references) == 1 else None
        # Test images give the floor. If test images are the only reference, training images give it.
        self.floor_split = "train" if references == ("test",) else "test"
        self.num_samples: Counter[Split | Generated] = Counter()  # by split, or `GENERATED`
        self._set_names()

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        self._set_names(f"_{short_number(n_fake)}")
        self.check_sample_size(n_fake, n_real)
        self.represent(torch.zeros(1, *data.shape))  # raises an error if the shape is unsuitable

    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        self.add(self.represent(x), split)
        self.num_samples[split] += len(x)

    def compute(self) -> dict[str, float]:
        self.check_sample_size(self.num_samples[GENERATED], self.n_real)
        return dict(zip(self.names, self.values(), strict=True))

    def reset(self) -> None:
        del self.num_samples[GENERATED]

    def protocol(self) -> ProtocolFields:
        sizes = {"n_real": self.n_real, "n_fake": self.num_samples[GENERATED]}
        return {**self.extractor.protocol(), **sizes, **self.protocol_fields}

    @property
    def n_real(self) -> int:
        """The number of images of the first reference that were passed; 0 if there is no reference."""
        return self.num_samples[self.references[0]] if self.references else 0

    def represent(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the metric compares instead of images [N, C, H, W], on the CPU; by default their features.

        Returns:
            One or more tensors with N rows each.
        """
        return (self.extractor.extract(x).features,)

    @abstractmethod
    def add(self, representations: tuple[Tensor, ...], split: Split | Generated) -> None:
        """Adds the result of `represent` for real samples of a split, or for generated samples."""

    @abstractmethod
    def values(self) -> tuple[float, ...]:
        """The values, one for each of `name_prefixes`, in this order."""

    def _set_names(self, size: str = "") -> None:
        """Sets `names`, which end in `size`, such as "_10k". `size` is empty until `setup` knows it."""
        split = f"_{self.subsampled_split}" if self.subsampled_split else ""
        ending = f"{self.extractor.name}{split}{size}"
        self.names = tuple(f"{prefix}/{ending}" for prefix in self.name_prefixes)


class StoringMetric(FeatureMetric):
    """Base class of metrics that store samples, as represented by `represent`, until `values` is called."""

    # The largest number of stored samples of each split, and of generated ones. If there are more, a random
    # subset is stored. None: all samples are stored.
    limit: int | None = None

    def __init__(self, extractor: str | Extractor, *references: Split):
        super().__init__(extractor, *references)
        # By the split, or `GENERATED`, and by the index of a tensor in the result of `represent`.
        self._reservoirs: dict[tuple[Split | Generated, int], Reservoir] = {}

    def add(self, representations: tuple[Tensor, ...], split: Split | Generated) -> None:
        for index, rows in enumerate(representations):
            self._reservoirs.setdefault((split, index), Reservoir(self.limit)).add(rows)

    def reset(self) -> None:
        super().reset()
        self._reservoirs = {key: rows for key, rows in self._reservoirs.items() if key[0] != GENERATED}

    def rows(self, split: Split | Generated, index: int = 0) -> Tensor:
        """The stored rows [N, F] of the tensor with this index in the result of `represent`."""
        return self._reservoirs[split, index].rows


class Reservoir:
    """A store of all added rows, or of a uniformly random subset of `limit` of them, which bounds memory.

    Row i > limit replaces a random stored row with probability limit / i (Vitter 1985, algorithm R). The
    subset depends only on the number and the order of the rows.
    """

    def __init__(self, limit: int | None = None):
        self.limit = limit
        self._parts: list[Tensor] = []  # the stored rows; `rows` joins them to one tensor
        self._num_added = 0
        self._generator = seeded_generator("features")

    def add(self, rows: Tensor) -> None:
        """Adds rows [N, F]."""
        num_free = len(rows) if self.limit is None else max(self.limit - self._num_added, 0)
        if num_free:
            self._parts.append(rows[:num_free].clone())
            self._num_added += len(rows[:num_free])
        for row in rows[num_free:]:
            self._num_added += 1
            index = int(torch.randint(self._num_added, (), generator=self._generator))
            if index < len(self.rows):
                self.rows[index] = row

    @property
    def rows(self) -> Tensor:
        """The stored rows [N, F], as the tensor itself and not a copy."""
        if len(self._parts) > 1:
            self._parts = [torch.cat(self._parts)]
        return self._parts[0]
