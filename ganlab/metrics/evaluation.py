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
from ganlab.metrics.base import GENERATED, SampleMetric
from ganlab.metrics.features import CACHES_FEATURES_ON_DISK, to_unit_range
from ganlab.metrics.protocols import MetricRecords

# The type of functions such as `progress_bar` in ganlab.training.callbacks.progress. The function gets a text
# and a total, and returns a context manager, which shows a bar and yields a function `advance(number)`.
OpenProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
CHUNK = 1000  # samples that are generated at a time
BATCH = 100  # samples that are passed to metrics at a time; values do not depend on it


@dataclass(eq=False)
class Evaluation:
    """Computes the metrics of a game, and their floors, which are the values of real samples.

    A metric refers to splits of the data by three attributes:
        references: the metric compares generated samples with the real samples of these splits.
        subsampled_split: the reference of which at most `n_real` random samples are used, always the same.
        floor_split: at most `n` real samples of this split replace the generated ones, to measure the floor.
            If the split has too few samples for a metric, the metric has no floor.

    Samples are generated and passed to the metrics in chunks, so only metrics that store samples need more
    memory for more samples. A conditional generator is given classes in the proportions of the reference, as
    in the code of Karras et al. 2020. Otherwise metrics would also measure the difference in proportions. If
    the data have no labels, the generator is given all classes in turn.

    Args:
        metrics: the metrics by their names in the config. Each computes one or more values with names.
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
    open_progress_bar: OpenProgressBar = lambda text, total: nullcontext(lambda number: None)

    def __post_init__(self) -> None:
        self.higher_is_better: dict[str, bool] = {}  # by the name of a value, not of a metric
        for name, metric in self.metrics.items():
            with _completing_error_keys(name):
                suitable = metric.input_kind == "points" or self.data.value_range is not None
                reason = "measures images, and these data are points"
                require(suitable, reason, "choose metric=none", "metric", name)
                for split in metric.references:
                    self.data.split(split, "cpu", BATCH)  # raises an error if the split does not exist
                metric.setup(self.data, self.n, self._num_real(metric, metric.subsampled_split))
            self.higher_is_better |= {key: metric.is_higher_better(key) for key in metric.names}
        # Generated samples have classes in the proportions of the split with which a metric compares them. A
        # metric with two references, such as memorisation, has no such split: it accepts any proportions.
        with_one_reference = [metric for metric in self.metrics.values() if len(metric.references) == 1]
        # The subsampled split of a metric with one reference is this reference, or None.
        splits = [m.subsampled_split for m in with_one_reference if m.subsampled_split] or ["train"]
        self._classes_by_split = {split: self.data.proportional_labels(self.n, split) for split in splits}
        # [n]; None: no labels. For conditional games, `check_game` requires the same classes of all `splits`.
        self.classes = next(iter(self._classes_by_split.values()))
        self.floors: dict[str, dict[str, Any]] = {}  # what `records` says about the floor, by value name
        self._protocols: dict[str, dict[str, Any]] = {}  # the protocols, by value name
        self._hashes: dict[tuple[Split, int], str] = {}  # of real samples, by split and number
        self._is_prepared = False

    def __call__(self, game: Game) -> dict[str, float]:
        """The values by name on the main process; {} on the other processes, which only generate samples.

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
        if not self._is_prepared:
            self._is_prepared = True
            # In `_prepare` only, features are cached on disk: its samples are real, the same in every run.
            context = copy_context()
            context.run(CACHES_FEATURES_ON_DISK.set, True)
            context.run(self._prepare, device)
        self._pass_samples(samples, self.metrics, split=GENERATED, text="samples", n=self.n)
        return self._compute_and_reset(self.metrics, game)

    def check_game(self, game: Game) -> None:
        """Checks that all metrics can measure a game.

        Raises:
            ConfigError: a metric cannot measure it.
        """
        for name, metric in self.metrics.items():
            with _completing_error_keys(name):
                metric.check_game(game)
        distinct = {None if y is None else tuple(y.tolist()) for y in self._classes_by_split.values()}
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
        names = list(self.higher_is_better)  # the names of all values
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
        sampled = {name for m in self.metrics.values() if m.depends_on_sampling for name in m.names}
        return {
            value_name: {
                "value": value,
                "better": "higher" if self.higher_is_better[value_name] else "lower",
                "step": None if game is None else game.run_step,
                **self._protocols[value_name],
                **self._origin(game, depends_on_sampling=value_name in sampled),
                **self.floors.get(value_name, {}),
            }
            for value_name, value in values.items()
        }

    def _origin(self, game: Game | None, *, depends_on_sampling: bool) -> dict[str, Any]:
        """What a record says about the origin of the samples: a game, or files if `game` is None."""
        if game is None:
            return {"sampler": "images from files"}
        if not depends_on_sampling:
            return {"batch_norm": "evaluation mode"}
        classes = "in turn" if self.classes is None else "as the reference"
        prior = game.presented("generator").prior
        threshold = getattr(prior, "threshold", None)  # only a truncated prior has a threshold
        return {
            "batch_norm": "evaluation mode",
            "sampler": "+".join(game.tricks.tricks_that_replace("generator", game.generator)) or "generator",
            **({} if threshold is None else {"truncation": threshold}),
            "classes": classes if game.generator.num_classes else "none",
            "latent_seed": self.seed,
        }

    def _generate(self, game: Game) -> Iterator[Tensor]:
        """The samples in chunks; all processes must iterate over them."""
        classes = self.classes if game.generator.num_classes else None
        for start in range(0, self.n, CHUNK):
            rows = slice(start, min(start + CHUNK, self.n))
            samples = game.sample_on_all_processes(self.n, seed=self.seed, rows=rows, label=classes)
            if not samples.isfinite().all():
                raise Diverged(game.run_step, "a sample is not finite")
            yield samples

    def _prepare(self, device: torch.device) -> None:
        """Passes the real samples to the metrics, and measures the floors."""
        # The names of metrics, by the split and the number of the real samples that they get.
        by_reference, by_floor = defaultdict(list), defaultdict(list)
        for name, metric in self.metrics.items():
            for split in metric.references:
                by_reference[split, self._num_real(metric, split)].append(name)
            if metric.floor_split in self.data.sources:
                n = min(self.n, len(self.data.sources[metric.floor_split]))
                with suppress(ConfigError):  # if n samples are too few for this metric, it has no floor
                    metric.check_sample_size(n, n_real=n)  # so n_real adds no condition; `setup` checked it
                    by_floor[metric.floor_split, n].append(name)
        for (split, n), metric_names in by_reference.items():
            samples = self._hashed_subset(split, n, device)
            self._pass_samples(samples, metric_names, split=split, text=f"real {split} images", n=n)
        for (split, n), metric_names in by_floor.items():
            samples = (x for x, _ in self.data.subset(split, n, device, BATCH))
            text = f"real {split} images as samples"
            self._pass_samples(samples, metric_names, split=GENERATED, text=text, n=n)
            for value_name, value in self._compute_and_reset(metric_names).items():
                self.floors[value_name] = {"floor": value, "floor_n": n, "floor_split": split}

    def _num_real(self, metric: SampleMetric, split: Split | None) -> int:
        """The number of real samples of a split with which a metric compares; 0 if the split is None."""
        size = len(self.data.sources[split]) if split else 0
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
        self, chunks: Iterable[Tensor], metric_names: Iterable[str], split: Split | None, text: str, n: int
    ) -> None:
        """Passes generated samples, or real samples of a split, to metrics.

        Each batch is passed to all metrics before the next batch, so that metrics with the same extractor
        extract the features of a batch once.

        Args:
            chunks: the samples, in chunks [N, *shape].
            metric_names: the names of the metrics.
            split: the split of the real samples; `GENERATED`, which is None, for generated samples.
            text: the text of the progress bar.
            n: the number of all samples, for the progress bar.
        """
        with self.open_progress_bar(text, n) as advance:
            for x in (x for chunk in chunks for x in torch.split(chunk, BATCH)):
                images = x if self.data.value_range is None else to_unit_range(x, self.data.value_range)
                for name in metric_names:
                    metric = self.metrics[name]
                    with _completing_error_keys(name):
                        metric.update(x if metric.input_kind == "points" else images, split)
                advance(len(x))

    def _compute_and_reset(self, metric_names: Collection[str], game: Game | None = None) -> dict[str, float]:
        """Computes metrics, drops their generated samples, and returns the values by their names."""
        values: dict[str, float] = {}
        with self.open_progress_bar("metrics", len(metric_names)) as advance:
            for name in metric_names:
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
        """The protocol of a metric's last values, and its `extras`, with the key "beside" in all records."""
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
    """Completes the keys of a metric's errors: for the name "prdc", ".k" becomes "metric.prdc.k".

    An error without a key gets the key "metric" with the value `name`.
    """
    try:
        with completing_relative_keys(f"metric.{name}"):
            yield
    except ConfigError as error:
        if error.key:
            raise
        raise ConfigError(error.reason, error.remedy, "metric", name) from error.__cause__
