"""Evaluation of games: all metrics of a run on the same samples, and records of their values."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from ganlab.core.distributed import is_main_process
from ganlab.core.errors import ConfigError, Diverged, require
from ganlab.core.players import path
from ganlab.metrics.base import GENERATED, Data, Game, Generated, SampleMetric, Split
from ganlab.metrics.features import caching_features_on_disk, to_unit_range
from ganlab.metrics.progress_bar import progress_bar
from ganlab.metrics.protocols import EXTRAS_KEY, MetricRecords

Metrics = Mapping[str, SampleMetric]
# The metrics that receive the same samples, by the split and the number of these samples.
MetricsBySamples = defaultdict[tuple[Split, int], dict[str, SampleMetric]]
BATCH = 100  # samples that are passed to metrics at a time; values do not depend on it
CHUNK = 1000  # samples that are generated at a time


@dataclass(eq=False)
class Evaluation:
    """Measures metrics on the samples of a game, and their floors, which are the values of real samples.

    Samples are generated and passed to the metrics in chunks, so only metrics that store samples need more
    memory for more samples. A conditional generator is given classes in the proportions of the reference, as
    in the code of Karras et al. 2020. Otherwise metrics would also measure the difference in proportions. If
    the data have no labels, the generator is given all classes in turn.

    Args:
        metrics: the metrics, by their names in the config.
        data: the data from which real samples come.
        n: the number of generated samples.
        n_real: the largest number of samples of a metric's `subsampled_split`; None: all.
        seed: the seed of the latents of generated samples.

    Raises:
        ConfigError: a metric cannot measure these data, or needs a split that they do not have.
    """

    metrics: Metrics
    data: Data
    n: int
    n_real: int | None
    seed: int

    def __post_init__(self) -> None:
        # By the name of a value, not of a metric: the protocol of the last value, its floor, its direction.
        self.protocols: dict[str, dict[str, Any]] = {}
        self.floors: dict[str, Mapping[str, Any]] = {}
        self.higher_is_better: dict[str, bool] = {}
        self._hashes: dict[tuple[Split, int], str] = {}  # of real samples, by their split and number
        self._has_real_samples = False  # whether the metrics have received the real samples
        for name, metric in self.metrics.items():
            with completing_error_keys(name):
                suitable = metric.input_kind == "points" or self.data.value_range is not None
                reason = "measures images, and these data are points"
                require(suitable, reason, "choose metric=none", "metric", name)
                for split in metric.references:
                    self.data.split(split, "cpu", BATCH)  # called for its error if the split does not exist
                metric.setup(self.data, self.n, self._num_real(metric, metric.subsampled_split))
            self.higher_is_better |= metric.higher_is_better_by_name()
        # The splits in whose proportions the metrics want the classes of generated samples.
        splits = [metric.class_split for metric in self.metrics.values() if metric.class_split] or ["train"]
        self._classes_by_split = {split: self.data.proportional_labels(self.n, split) for split in splits}
        # The classes [n] of the samples of a conditional game; None: the data have no labels. The first split
        # stands for all, because `check_game` refuses conditional games if the splits give different classes.
        self.classes = self._classes_by_split[splits[0]]

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

    def check_game(self, game: Game) -> None:
        """Raises `ConfigError` if a metric cannot measure a game."""
        for name, metric in self.metrics.items():
            with completing_error_keys(name):
                metric.check_game(game)
        distinct = {None if y is None else tuple(y.tolist()) for y in self._classes_by_split.values()}
        if game.generator.num_classes and len(distinct) > 1:
            splits = " and ".join(self._classes_by_split)
            reason = f"the splits {splits} have different proportions of classes"
            raise ConfigError(reason, "compare a conditional game with one split at a time")

    def records(self, values: Mapping[str, float], game: Game | None = None) -> MetricRecords:
        """The records of the values of a game (None: of images from files), in plain Python types."""
        metrics = {name: metric for metric in self.metrics.values() for name in metric.names}
        return {
            name: {
                "value": value,
                "better": "higher" if self.higher_is_better[name] else "lower",
                "step": None if game is None else game.run_step,
                **self.protocols[name],
                **self._origin(metrics[name], game),
                **self.floors.get(name, {}),
            }
            for name, value in values.items()
        }

    def _origin(self, metric: SampleMetric, game: Game | None) -> dict[str, Any]:
        """What a record says about the origin of a metric's samples: a game, or files if `game` is None."""
        if game is None:
            return {"sampler": "images from files"}
        origin: dict[str, Any] = {"batch_norm": "evaluation mode"}
        if metric.depends_on_sampling:
            tricks = game.tricks.tricks_that_replace("generator", game.generator)
            origin["sampler"] = "+".join(tricks) or "generator"
            prior = game.presented("generator").prior
            threshold = getattr(prior, "threshold", None)  # only a truncated prior has a threshold
            if threshold is not None:
                origin["truncation"] = threshold
            classes = "in turn" if self.classes is None else "as the reference"
            origin["classes"] = classes if game.generator.num_classes else "none"
            if game.conditions is not None and not metric.needs_game:  # which chooses conditions itself
                origin["classes" if game.generator.num_classes else "conditions"] = game.conditions.name
            origin["latent_seed"] = self.seed
        return origin

    def measure(
        self, samples: Iterable[Tensor], device: torch.device, game: Game | None = None
    ) -> dict[str, float]:
        """Measures all metrics, and returns the values by their names.

        Args:
            samples: chunks of generated samples [N, *shape] in the data's range.
            device: the device of the samples.
            game: the game that generated the samples; None: they are images from files.
        """
        self.measure_real_samples(device)
        self._pass_samples(samples, self.metrics, GENERATED, text="samples", n=self.n)
        return self._compute_and_reset(self.metrics, game)

    def measure_real_samples(self, device: torch.device) -> None:
        """Passes the real samples to the metrics, and measures the floors; does nothing the second time."""
        if not self._has_real_samples:
            self._has_real_samples = True
            with caching_features_on_disk():  # real samples are the same in every run
                self._pass_real_samples(device)
                self._measure_floors(device)

    def _pass_real_samples(self, device: torch.device) -> None:
        """Passes to each metric the real samples of its references."""
        metrics_by_samples: MetricsBySamples = defaultdict(dict)
        for name, metric in self.metrics.items():
            for split in metric.references:
                metrics_by_samples[split, self._num_real(metric, split)][name] = metric
        for (split, n), metrics in metrics_by_samples.items():
            samples = self._hashed_subset(split, n, device)
            self._pass_samples(samples, metrics, split, text=f"real {split} images", n=n)

    def _measure_floors(self, device: torch.device) -> None:
        """Measures each metric with real samples of its `floor_split` in place of generated ones."""
        metrics_by_samples: MetricsBySamples = defaultdict(dict)
        for name, metric in self.metrics.items():
            if not metric.needs_game and metric.floor_split in self.data.sources:
                n = min(self.n, len(self.data.sources[metric.floor_split]))
                with suppress(ConfigError):  # raised if n samples are too few for this metric
                    metric.check_sample_size(n, self._num_real(metric, metric.subsampled_split))
                    metrics_by_samples[metric.floor_split, n][name] = metric
        for (split, n), metrics in metrics_by_samples.items():
            samples = (x for x, _ in self.data.subset(split, n, device, BATCH))
            self._pass_samples(samples, metrics, GENERATED, text=f"real {split} images as samples", n=n)
            for value_name, value in self._compute_and_reset(metrics).items():
                self.floors[value_name] = {"floor": value, "floor_n": n, "floor_split": split}

    def _num_real(self, metric: SampleMetric, split: Split | None) -> int:
        """The number of real samples of a split with which a metric compares; 0 if the split is None."""
        size = len(self.data.sources[split]) if split else 0
        return min(self.n_real or size, size) if split == metric.subsampled_split else size

    def _hashed_subset(self, split: Split, n: int, device: torch.device) -> Iterator[Tensor]:
        """Yields a subset of a split in batches [b, *shape], and stores its hash after the last batch."""
        digest, value_range = sha256(), self.data.value_range
        for x, _ in self.data.subset(split, n, device, BATCH):
            levels = x if value_range is None else (to_unit_range(x, value_range) * 255).round().byte()
            digest.update(levels.cpu().contiguous().numpy().tobytes())
            yield x
        self._hashes[split, n] = digest.hexdigest()[:16]

    def _pass_samples(
        self, chunks: Iterable[Tensor], metrics: Metrics, split: Split | Generated, text: str, n: int
    ) -> None:
        """Passes samples, in chunks [N, *shape], to metrics; the progress bar shows a text and their number.

        Each batch is passed to all metrics before the next batch, so that metrics with the same extractor
        extract the features of a batch once.
        """
        with progress_bar(text, n) as advance:
            for chunk in chunks:
                for x in torch.split(chunk, BATCH):
                    images = to_unit_range(x, self.data.value_range)
                    for name, metric in metrics.items():
                        with completing_error_keys(name):
                            metric.update(x if metric.input_kind == "points" else images, split)
                    advance(len(x))

    def _compute_and_reset(self, metrics: Metrics, game: Game | None = None) -> dict[str, float]:
        """Computes metrics, drops their generated samples, and returns the values by their names."""
        values: dict[str, float] = {}
        with progress_bar("metrics", len(metrics)) as advance:
            for name, metric in metrics.items():
                with completing_error_keys(name):
                    if game is not None:
                        metric.observe_game(game, self.seed)
                    values_of_metric = metric.compute()
                values |= values_of_metric
                self.protocols |= dict.fromkeys(values_of_metric, self._protocol(metric))
                self.floors |= metric.own_floors
                metric.reset()
                advance(1)
        return values

    def _protocol(self, metric: SampleMetric) -> dict[str, Any]:
        """The protocol of a metric's last values; it also holds the metric's `extras`, if there are any."""
        hashes = [self._hashes[split, self._num_real(metric, split)] for split in metric.references]
        return {
            "split": "+".join(metric.references) or "none",
            "shape": list(self.data.shape),
            **({"reference_sha256": "+".join(hashes)} if hashes else {}),
            "torch": version("torch"),
            **metric.protocol(),
            **({EXTRAS_KEY: metric.extras} if metric.extras else {}),
        }

    def _generate(self, game: Game) -> Iterator[Tensor]:
        """Yields the samples in chunks; all processes must iterate over them."""
        is_told_classes = game.generator.num_classes and game.conditions is None
        classes = self.classes if is_told_classes else None
        for start in range(0, self.n, CHUNK):
            rows = slice(start, min(start + CHUNK, self.n))
            samples = game.sample_on_all_processes(self.n, seed=self.seed, rows=rows, conditions=classes)
            if not samples.isfinite().all():
                raise Diverged(game.run_step, "a sample is not finite")
            yield samples


def records_of_parts(evaluations: Mapping[str, Evaluation], games: Mapping[str, Game]) -> MetricRecords:
    """Measures the parts of a composite of games, or a game alone, each with its own metrics.

    The values of the first part have their usual names, those of others begin with the name of the part.
    """
    records: MetricRecords = {}
    for i, (name, game) in enumerate(games.items()):
        own = evaluations[name].records(evaluations[name](game), game)
        records |= {path(name if i else "", value): record for value, record in own.items()}
    return records


def monitored_value(evaluations: Mapping[str, Evaluation], name: str | None) -> tuple[str | None, bool]:
    """The name of the value that selects the best checkpoint, and whether higher is better.

    Args:
        evaluations: those of the parts, see `records_of_parts`.
        name: the name of the value, or the beginning of one; None: the first value, if there is one.
    """
    better: dict[str, bool] = {}  # whether higher is better, of all values
    for i, (part, evaluation) in enumerate(evaluations.items()):
        better |= {path(part if i else "", value): up for value, up in evaluation.higher_is_better.items()}
    if name is None:
        return next(iter(better.items()), (None, False))
    matches = [full for full in better if full == name or full.startswith((f"{name}/", f"{name}_"))]
    reason = f"may be {' or '.join(matches)}" if matches else "is not measured"
    require(len(matches) == 1, reason, f"choose one of {', '.join(better) or 'none'}", "monitor", name)
    return matches[0], better[matches[0]]


@contextmanager
def completing_error_keys(name: str) -> Iterator[None]:
    """Completes the keys of the errors of the metric with this name, see `ConfigError.of_part`."""
    try:
        yield
    except ConfigError as error:
        raise error.of_part("metric", name) from error.__cause__
