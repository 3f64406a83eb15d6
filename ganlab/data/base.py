"""The base class of data sets: endless training batches, the samples of each split, and their properties."""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import accumulate, count, starmap, tee
from typing import Literal, Unpack

import torch
from torch import Tensor

from ganlab.core.batch import Batch, ConditionSource, ConditionSpec, Sample
from ganlab.core.errors import format_value, require
from ganlab.core.randomness import derive_seed, proportional_classes, seeded_generator
from ganlab.core.validation import Count, ValueRange
from ganlab.data.batches import NOT_AUGMENTED, BatchIndices, LabelledSubset, rows_by_epoch, sequential_batches
from ganlab.data.composition import Composition, Sources, compose_splits
from ganlab.data.densities import Mixture
from ganlab.data.sources import Samples, Source, check_condition, copy_to_device

Split = Literal["train", "validation", "test", "held_out"]  # held_out: the samples of other classes
Device = torch.device | str
SamplesAndRows = Iterator[tuple[Sample, Tensor]]


class OptionalDataSettings(Composition, total=False):
    """The settings that a data set may lack."""

    condition: ConditionSpec | None


class DataSettings(OptionalDataSettings):
    """The settings of every data set.

    Networks are built from them before the data are read, so a data set refuses those that contradict its
    samples (`check_settings`).
    """

    shape: Sequence[int]
    num_classes: int | None
    range: Sequence[float] | None
    batch_size: Count


class Data:
    """A data set: one source of samples for each split. Subclasses only create the sources.

    Args:
        shape: the shape of one sample, (C, H, W) or (D,).
        num_classes: the number of classes of the whole data set; None: there are no labels.
        range: the range of the elements, [-1, 1] or [0, 1] for images; None: unbounded samples, which are
            not scaled.
        batch_size: the size of the global batch, all processes together.
        sources: the source of each split of the whole data set by its name; `train` is required.
        class_names: the names of classes 0, 1, ... of the whole data set; None: they have no names.
        load: returns the sources that are read, from those of the samples that `composition` chooses. The
            fingerprint hashes the latter, so that it depends on files and not on the images in memory.
        condition: what goes with a sample. A source has an image in the last channels of the sample, so that
            what moves the sample moves its condition, and a vector in `vectors`. None: the classes, if any.
        composition: the settings that choose the samples of each split.

    Raises:
        ConfigError: the batch size exceeds the number of training samples, the training labels cannot
            provide `labelled` samples, or the composition is impossible.
    """

    class_names: tuple[str, ...] | None = None  # the names of labels 0, 1, ...; None: classes have no names
    distribution: Mixture | None = None  # the distribution of the samples, if it is known
    skipped: Sequence[str] = ()  # the paths of the files that were skipped so far
    # The data whose samples are the conditions, drawn independently; None: conditions belong to samples.
    condition_domain: "Data | None" = None

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int | None,
        range: Sequence[float] | None,
        batch_size: int,
        sources: Mapping[str, Source],
        class_names: Sequence[str] | None = None,
        load: Callable[[Sources], Sources] = lambda sources: sources,
        condition: ConditionSpec | None = None,
        **composition: Unpack[Composition],
    ):
        chosen, self.class_names = compose_splits(sources, class_names, composition)
        self.num_classes_of_all = num_classes
        if num_classes and composition.get("classes"):
            num_classes = len(self.class_names or ())
        classes = ConditionSpec("class", num_classes=num_classes, paired=False) if num_classes else None
        self.condition = condition or classes
        if self.condition_domain is None:
            check_condition(condition, shape, sources)
        self.shape, self.num_classes, self.batch_size = tuple(shape), num_classes, batch_size
        self.value_range: ValueRange = None if range is None else (float(range[0]), float(range[1]))
        self.sources, self.fingerprint_sources = load(chosen), chosen
        self.check_batch_size(world_size=1, batch_size=batch_size)
        # What parts of a composite of games see instead, by their names; None: the name of the first part.
        self.parts: dict[str | None, Data] = {}
        labels, labelled = self.sources["train"].labels, composition.get("labelled")
        told = self.condition.num_classes if self.condition else None
        self.labelled_subset = None if labelled is None else LabelledSubset(labels, labelled, told)

    def __len__(self) -> int:
        """The number of training samples."""
        return len(self.sources["train"])

    def of_part(self, name: str | None) -> "Data":
        """The data as a part of a composite of games sees them; None: the first part."""
        return self.parts.get(name, self)

    def fingerprint(self) -> str:
        """The SHA-256 hash of the samples and labels of all splits; of image files, only a part is hashed."""
        digest = sha256()
        for split, source in sorted(self.fingerprint_sources.items()):
            for part in (split, *source.fingerprint_parts()):
                header = part if isinstance(part, str) else f"{part.dtype} {tuple(part.shape)}"
                digest.update(os.fsencode(header) + b"\0")  # not encode: names of files may have any bytes
                if isinstance(part, Tensor):
                    digest.update(part.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def check_batch_size(self, world_size: int, batch_size: int) -> None:
        """Raises `ConfigError` if a global batch is too large, or cannot be divided among the processes."""
        reason = f"exceeds the {len(self)} training samples"
        require(batch_size <= len(self), reason, "lower it", ".batch_size", batch_size)
        reason, remedy = f"cannot be divided among {world_size} processes", f"set a multiple of {world_size}"
        require(batch_size % world_size == 0, reason, remedy, ".batch_size", batch_size)
        if self.condition_domain is not None:
            self.condition_domain.check_batch_size(world_size, batch_size)

    def class_counts(self, split: Split = "train") -> list[int] | None:
        """The number of samples of each class in a split; None if there are no classes, or no such split."""
        labels = self.sources[split].labels if split in self.sources else None
        if labels is None or not self.num_classes:
            return None
        return torch.bincount(labels.cpu(), minlength=self.num_classes).tolist()

    def proportional_labels(self, n: int, split: Split = "train") -> Tensor | None:
        """Labels [n] int64 in the proportions of a split, the same in every run; None without labels."""
        counts = self.class_counts(split)
        return None if counts is None else proportional_classes(counts, n)

    def conditions(self, split: Split) -> ConditionSource:
        """The conditions of the first n samples of a split; if there are fewer, they are repeated."""

        def first(data: Data, part: int, n: int) -> Tensor:
            rows = torch.arange(n) % len(data.sources[split])
            return torch.cat([pair[part] for pair in data.samples_at(split, rows, "cpu", 250)])  # type: ignore[misc]

        domain, is_paired = self.condition_domain, self.condition is not None and self.condition.paired
        conditions = partial(first, self, 1) if domain is None else partial(first, domain, 0)
        return ConditionSource(f"{split} split", conditions, partial(first, self, 0) if is_paired else None)

    def mean(self) -> Tensor:
        """The mean training sample, [*shape] float64. Reads all training samples."""
        return sum(x.double().sum(0) for x, _ in self.split("train", "cpu", batch_size=1000)) / len(self)  # type: ignore[return-value]

    def stream(
        self,
        seed: int,
        start: Callable[[], int],
        device: Device,
        rank: int = 0,
        world_size: int = 1,
        steps_and_batch_sizes: Sequence[tuple[int, int]] = (),
    ) -> Iterable[Batch]:
        """Training batches start(), start() + 1, ...: x [b, *shape] float32, labels [b] int64 or None.

        Global batch k is a function of (seed, k). The process of rank r, among W processes, gets the rows r b
        to (r + 1) b - 1 of the global batch, where b is the global batch size divided by W. Samples that are
        held in memory are moved to the device.

        Args:
            start: returns the number of the first batch, which is the current step of the run. Each `iter` of
                the stream calls it. Counting fetched batches would not do, because some are fetched ahead.
            steps_and_batch_sizes: for each stage and then for the main game, the number of steps and the
                global batch size. Empty: there are no stages, and the batch size is `self.batch_size`.

        Raises:
            ConfigError: as in `check_batch_size`.
        """
        device = torch.device(device)
        # By default there is only the main game. 0 stands for its number of steps, which is not used below.
        steps_and_batch_sizes = steps_and_batch_sizes or [(0, self.batch_size)]
        for _, batch_size in steps_and_batch_sizes:
            self.check_batch_size(world_size, batch_size)
        stage_ends = list(accumulate(steps for steps, _ in steps_and_batch_sizes[:-1]))

        def local_batches(data: Data, own_seed: int, subset: LabelledSubset | None = None) -> SamplesAndRows:
            source = data.sources["train"]
            source.move(device)
            batch_rows = subset.rows_by_permutation(seed) if subset else rows_by_epoch(own_seed, len(source))

            def local_indices(k: int) -> BatchIndices:
                # The global batch size of the stage or main game that has step k.
                _, size = steps_and_batch_sizes[bisect_right(stage_ends, k)]
                part = slice(rank * size // world_size, (rank + 1) * size // world_size)
                numbers = NOT_AUGMENTED.expand(size, 3)
                if source.augments:
                    numbers = torch.rand(size, 3, generator=seeded_generator(own_seed, "augment", k))
                return BatchIndices(batch_rows(k, size)[part], random_numbers=numbers[part])

            # A source may read ahead, so the rows of a batch are kept until its samples come.
            indices, kept = tee(map(local_indices, count(start())))
            samples = starmap(Sample, data._prepare(source.batches(indices), device))
            return zip(samples, (part.rows for part in kept), strict=False)  # `kept` never ends

        def begin() -> Iterator[Batch]:
            training = local_batches(self, seed)
            if (domain := self.condition_domain) is not None:
                pairs = zip(training, local_batches(domain, derive_seed(seed, "condition")), strict=True)
                return (Batch(Sample(real.x, other.x), indices=rows) for (real, rows), (other, _) in pairs)
            if (subset := self.labelled_subset) is not None:
                pairs = zip(training, local_batches(self, derive_seed(seed, "labelled"), subset), strict=True)
                return (Batch(real, labelled, rows) for (real, rows), (labelled, _) in pairs)
            return (Batch(real, indices=rows) for real, rows in training)

        return Stream(begin)

    def split(self, name: Split, device: Device, batch_size: int) -> Iterator[Samples]:
        """Every sample of a split once, in a fixed order, not augmented; the last batch may be smaller.

        Raises:
            ConfigError: there is no such split, or the batch size is below 1.
        """
        # The key is "batch_size" and not ".batch_size", because it names this argument and not the setting.
        require(batch_size >= 1, "must be at least 1", key="batch_size", value=batch_size)
        suggestion = ", or hold some samples out with data.validation" if name == "validation" else ""
        remedy = f"choose from {', '.join(self.sources)}{suggestion}"
        require(name in self.sources, f"the data have no split {name!r}", remedy)
        return self._prepare(self.sources[name].all_samples(batch_size), torch.device(device))

    def subset(self, name: Split, n: int, device: Device, batch_size: int) -> Iterator[Samples]:
        """At most n samples of a split, the same in every run, not augmented; reads no other samples.

        Raises:
            ConfigError: as in `split`.
        """
        all_batches = self.split(name, device, batch_size)  # refuses a missing split, and reads nothing yet
        size = len(self.sources[name])
        if n >= size:
            return all_batches
        rows = torch.randperm(size, generator=seeded_generator("evaluation", name))[:n]
        return self.samples_at(name, rows, device, batch_size)

    def samples_at(self, name: Split, rows: Tensor, device: Device, batch_size: int) -> Iterator[Samples]:
        """The samples in the given rows [n] of a split, not augmented."""
        batches = self.sources[name].batches(sequential_batches(rows, batch_size))
        return self._prepare(batches, torch.device(device))

    def _prepare(self, batches: Iterator[Samples], device: torch.device) -> Iterator[Samples]:
        """Moves batches to a device, and then scales them, because uint8 moves faster than float32."""
        for x, labels in batches:
            condition = None if labels is None else copy_to_device(labels, device)
            x = scale(copy_to_device(x, device), self.value_range)
            if self.condition is not None and self.condition.kind == "image":
                x, condition = x[:, : self.shape[0]], x[:, self.shape[0] :]
            yield x, condition


@dataclass
class Stream:
    """An iterable that calls `begin` whenever it is iterated; a generator could be iterated only once."""

    begin: Callable[[], Iterator[Batch]]

    def __iter__(self) -> Iterator[Batch]:
        return self.begin()


def check_settings(settings: DataSettings, **properties: object) -> None:
    """Raises `ConfigError` if a setting differs from the property of the data that has the same name."""
    for name, actual in properties.items():
        value, text = dict(settings)[name], format_value(actual)  # a TypedDict has no variable keys
        # Compared as texts, because the config has lists where the data have tuples.
        require(format_value(value) == text, "contradicts the data", f"set it to {text}", f".{name}", value)


def check_image_settings(settings: DataSettings, shape: Sequence[int], num_classes: int | None) -> None:
    """Raises `ConfigError` if the settings of images contradict the data."""
    check_settings(settings, shape=tuple(shape), num_classes=num_classes)
    # Generators of images end in tanh or a sigmoid.
    fits = list(settings["range"] or ()) in ([-1, 1], [0, 1])
    require(fits, "is not a value range of images", "set it to [-1,1] or [0,1]", ".range", settings["range"])


def scale(x: Tensor, value_range: ValueRange) -> Tensor:
    """Scales uint8 samples to float32, such that 0 and 255 become exactly the ends of the value range.

    Without a value range, samples stay as they are.
    """
    if value_range is None:
        return x
    low, high = value_range
    return x.float().mul_((high - low) / 255).add_(low)
