"""Evaluation of games: all metrics of a run, measured on the same samples, and records of the values."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from ganlab.core.distributed import is_main_process
from ganlab.core.errors import ConfigError, Diverged, completing_relative_keys, require
from ganlab.data.base import Data, Split
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.features import USES_DISK, to_unit_range
from ganlab.metrics.protocols import MetricRecords

# The type of functions such as `progress_bar` in ganlab.training.callbacks.progress. They take a text and a
# total, and open a progress bar. The context that they return gives a function that advances it by a number.
OpenProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
CHUNK = 1000  # samples that are generated at a time
BATCH = 100  # samples that are passed to metrics at a time; values do not depend on it


@dataclass(eq=False)
class Evaluation:
    """Computes the metrics of a game, and their floors: the values that real samples have.

    Each metric compares with the splits in its `references`. Its `subsampled_split` is limited to a random
    subset of `n_real` samples, the same in every run. To measure the floor, at most `n` real samples of the
    metric's `floor_split` are passed like generated ones. If that is too few for a metric, it has no floor.

    Samples are generated and passed to the metrics in chunks, so only metrics that store samples need more
    memory for more samples. A conditional generator is given classes in the proportions of the reference, as
    in the code of Karras et al. 2020, because a difference of proportions would be measured as well. If the
    data have no labels, it is given all classes in turn.

    Args:
        metrics: the metrics, by their names in the config.
        data: the data from which real samples come.
        n: the number of generated samples.
        n_real: the largest number of samples of a metric's `subsampled_split`; None: all.
        seed: the seed of the samples' latents.
        open_progress_bar: opens a progress bar; by default, none is shown.

    Raises:
        ConfigError: a metric cannot measure these data, or needs a split that they do not have.
    """

    metrics: Mapping[str, SampleMetric]
    data: Data
    n: int
    n_real: int | None
    seed: int
    open_progress_bar: OpenProgressBar = lambda what, total: nullcontext(lambda more: None)

    def __post_init__(self) -> None:
        self.higher_is_better: dict[str, bool] = {}  # whether higher is better, by the name of the value
        for name, metric in self.metrics.items():
            with _completing_error_keys(name):
                suitable = metric.input_kind == "points" or self.data.value_range is not None
                reason = "measures images, and these data are points"
                require(suitable, reason, "choose metric=none", "metric", name)
                for split in metric.references:
                    self.data.split(split, "cpu", BATCH)  # raises an error if the split does not exist
                metric.setup(self.data, self.n, self._num_real(metric, metric.subsampled_split or "train"))
            self.higher_is_better |= {value: metric.is_higher_better(value) for value in metric.names}
        # A metric with several references, such as `Memorisation`, does not decide on the classes of samples.
        single = [metric for metric in self.metrics.values() if len(metric.references) == 1]
        splits = [metric.subsampled_split for metric in single if metric.subsampled_split] or ["train"]
        self._classes_by_split = {split: self.data.proportional_labels(self.n, split) for split in splits}
        # The classes [n] of generated samples; None: the data have no labels.
        self.classes = next(iter(self._classes_by_split.values()))
        self.floors: dict[str, dict[str, Any]] = {}  # the entries of a record on the floor, by value name
        self._protocols: dict[str, dict[str, Any]] = {}  # the protocols, by the name of the value
        self._hashes: dict[tuple[Split, int], str] = {}  # the hashes of real samples, by split and number
        self._is_prepared = False

    def __call__(self, game: Game) -> dict[str, float]:
        """The values by name on the main process; {} on the others, which only generate samples.

        The game's weights and torch's default generators stay as they are.
        """
        if not self.metrics:
            return {}
        samples = self._generate(game)
        if not is_main_process():
            deque(samples, maxlen=0)  # generates the part of this process, and stores nothing
            return {}
        return self.measure(samples, next(game.parameters()).device, game)

    def measure(
        self, samples: Iterable[Tensor], device: torch.device, game: Game | None = None
    ) -> dict[str, float]:
        """The values by name for chunks of samples [N, *shape] in the data's range.

        Args:
            samples: the chunks of samples.
            device: the device of the samples.
            game: the game that generated the samples; None: they are images from files.
        """
        copy_context().run(self._prepare, device)
        self._pass_samples(samples, self.metrics, split=None, text="samples", total=self.n)
        return self._compute_and_reset(self.metrics, game)

    def check_game(self, game: Game) -> None:
        """Checks that all metrics can measure a game.

        Raises:
            ConfigError: a metric cannot measure it.
        """
        for name, metric in self.metrics.items():
            with _completing_error_keys(name):
                metric.check_game(game)
        classes = self._classes_by_split.values()
        distinct = {None if labels is None else tuple(labels.tolist()) for labels in classes}
        if game.generator.num_classes and len(distinct) > 1:
            splits = " and ".join(self._classes_by_split)
            reason = f"the splits {splits} have different proportions of classes"
            raise ConfigError(reason, "compare a conditional game with one split at a time")

    def monitored_value(self, name: str | None) -> tuple[str | None, bool]:
        """The name of the value that selects the best checkpoint, and whether higher is better.

        Args:
            name: the name of the value, or its beginning; None: the first value, if there is one.

        Raises:
            ConfigError: no name begins like this, or several do.
        """
        names = list(self.higher_is_better)
        if name is None:
            return (names[0], self.higher_is_better[names[0]]) if names else (None, False)
        matches = [full for full in names if full == name or full.startswith((f"{name}/", f"{name}_"))]
        reason = f"may be {' or '.join(matches)}" if matches else "is not measured"
        require(len(matches) == 1, reason, f"choose one of {', '.join(names) or 'none'}", "monitor", name)
        return matches[0], self.higher_is_better[matches[0]]

    def records(self, values: Mapping[str, float], game: Game | None = None) -> MetricRecords:
        """The records of values: the values with their protocols and floors, in plain Python types.

        Args:
            values: the values by name.
            game: the game whose samples were measured; None: images from files.
        """
        sampled = {name for metric in self.metrics.values() if metric.uses_samples for name in metric.names}
        how = {"sampler": "images from files"} if game is None else {"batch_norm": "evaluation mode"}
        return {
            name: {
                "value": value,
                "better": "higher" if self.higher_is_better[name] else "lower",
                "step": None if game is None else game.step,
                **self._protocols[name],
                **how,
                **(self._sampling(game) if game is not None and name in sampled else {}),
                **self.floors.get(name, {}),
            }
            for name, value in values.items()
        }

    def _sampling(self, game: Game) -> dict[str, Any]:
        """How the samples of a game are generated."""
        classes = "in turn" if self.classes is None else "as the reference"
        threshold = getattr(game.sampler.prior, "threshold", None)  # only a truncated prior has a threshold
        return {
            "sampler": "+".join(game.tricks.names_replacing(game.generator, hook="sampler")) or "generator",
            **({} if threshold is None else {"truncation": threshold}),
            "classes": classes if game.generator.num_classes else "none",
            "latent_seed": self.seed,
        }

    def _generate(self, game: Game) -> Iterator[Tensor]:
        """The samples in chunks; all processes must iterate over them."""
        classes = self.classes if game.generator.num_classes else None
        for start in range(0, self.n, CHUNK):
            rows = slice(start, min(start + CHUNK, self.n))
            samples = game.sample_on_all_ranks(self.n, seed=self.seed, rows=rows, label=classes)
            if not samples.isfinite().all():
                raise Diverged(game.step, "a sample is not finite")
            yield samples

    def _prepare(self, device: torch.device) -> None:
        """Passes the real samples to the metrics, and measures the floors, at the first call.

        Must be called in a context of its own, in which it sets `USES_DISK`.
        """
        if self._is_prepared:
            return
        self._is_prepared = True
        # The names of the metrics that use real samples, by the split and the number of these.
        by_reference, by_floor = defaultdict(list), defaultdict(list)
        for name, metric in self.metrics.items():
            for split in metric.references:
                by_reference[split, self._num_real(metric, split)].append(name)
            if metric.floor_split in self.data.sources:
                n = min(self.n, len(self.data.sources[metric.floor_split]))
                with suppress(ConfigError):  # too few samples for this metric, which has no floor then
                    metric.check_sample_size(n, n)
                    by_floor[metric.floor_split, n].append(name)
        USES_DISK.set(True)
        for (split, n), names in by_reference.items():
            samples = self._hashed_subset(split, n, device)
            self._pass_samples(samples, names, split=split, text=f"real {split} images", total=n)
        for (split, n), names in by_floor.items():
            samples = (x for x, _ in self.data.subset(split, n, device, BATCH))
            text = f"real {split} images as samples"
            self._pass_samples(samples, names, split=None, text=text, total=n)
            values, source = self._compute_and_reset(names), {"floor_n": n, "floor_split": split}
            self.floors |= {name: {"floor": value, **source} for name, value in values.items()}

    def _num_real(self, metric: SampleMetric, split: Split) -> int:
        """The number of real samples of a split with which a metric compares."""
        size = len(self.data.sources[split])
        return min(self.n_real or size, size) if split == metric.subsampled_split else size

    def _hashed_subset(self, split: Split, n: int, device: torch.device) -> Iterator[Tensor]:
        """A subset of a split in batches [b, *shape]. Its hash is stored after the last batch."""
        digest, value_range = sha256(), self.data.value_range
        for x, _ in self.data.subset(split, n, device, BATCH):
            levels = x if value_range is None else (to_unit_range(x, value_range) * 255).round().byte()
            digest.update(levels.cpu().contiguous().numpy().tobytes())
            yield x
        self._hashes[split, n] = digest.hexdigest()[:16]

    def _pass_samples(
        self, samples: Iterable[Tensor], names: Collection[str], *, split: Split | None, text: str, total: int
    ) -> None:
        """Passes generated samples (split None), or real samples of a split, to the metrics of these names.

        Each batch is passed to all metrics before the next one, so that metrics with the same extractor
        extract its features once.

        Args:
            samples: the samples, in chunks [N, *shape].
            names: the names of the metrics.
            split: the split of the real samples; None: the samples are generated.
            text: the text of the progress bar.
            total: the number of all samples, for the progress bar.
        """
        value_range = self.data.value_range
        with self.open_progress_bar(text, total) as advance:
            for points in (batch for chunk in samples for batch in torch.split(chunk, BATCH)):
                images = points if value_range is None else to_unit_range(points, value_range)
                for name in names:
                    metric = self.metrics[name]
                    with _completing_error_keys(name):
                        metric.update(points if metric.input_kind == "points" else images, split)
                advance(len(points))

    def _compute_and_reset(self, names: Collection[str], game: Game | None = None) -> dict[str, float]:
        """The values of the metrics of these names, whose generated samples are dropped afterwards."""
        values: dict[str, float] = {}
        with self.open_progress_bar("metrics", len(names)) as advance:
            for name in names:
                metric = self.metrics[name]
                with _completing_error_keys(name):
                    if game is not None:
                        metric.observe_game(game, self.seed)
                    computed = metric.compute()
                self._protocols |= dict.fromkeys(computed, self._protocol(metric))
                values |= computed
                metric.reset()
                advance(1)
        return values

    def _protocol(self, metric: SampleMetric) -> dict[str, Any]:
        """The protocol of the last values of a metric, with their further results."""
        hashes = [self._hashes[split, self._num_real(metric, split)] for split in metric.references]
        return {
            "split": "+".join(metric.references) or "none",
            "shape": list(self.data.shape),
            **({"reference_sha256": "+".join(hashes)} if hashes else {}),
            "torch": version("torch"),
            **metric.protocol(),
            **({"beside": metric.extras} if metric.extras else {}),
        }


@contextmanager
def _completing_error_keys(name: str) -> Iterator[None]:
    """Completes the keys of a metric's errors with its name in the config; see `SampleMetric`."""
    try:
        with completing_relative_keys(f"metric.{name}"):
            yield
    except ConfigError as error:
        if error.key:
            raise
        raise ConfigError(error.reason, error.remedy, "metric", name) from error.__cause__
