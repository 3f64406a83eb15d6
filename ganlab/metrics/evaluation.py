"""Evaluation of games: all metrics of a run, measured on the same samples, and records of the values."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
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
from ganlab.metrics.features import cached_on_disk, to_unit_range
from ganlab.metrics.protocols import MetricRecords

# A function that opens a progress bar from a text and a total. The context's value is called with increments.
ProgressFactory = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
PIECE = 1000  # samples that are generated at a time
BATCH = 100  # samples that are passed to metrics at a time; values do not depend on it
NUM_DIGITS = 16  # hexadecimal digits of a hash in a record


def no_progress(what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A context in place of a progress bar."""
    return nullcontext(lambda done: None)


@dataclass(eq=False)
class Evaluation:
    """Computes the metrics of a game, and their floors: the values that real samples have.

    Each metric compares with the splits in its `references`, or with a random subset of at most `n_real`
    samples of them, the same in every run. The floor is the value of at most `n` real samples of the metric's
    `floor_split` instead of generated ones; there is none if these are too few for the metric.

    Samples are generated and passed to the metrics in pieces, so that memory does not depend on their number
    except for what a metric keeps. A conditional generator is given classes in the proportions of the
    reference (Karras et al. 2020, code), because a difference of proportions would be measured as well;
    without labels, all classes in turn.

    Args:
        metrics: the metrics, by their names in the config.
        data: the data from which real samples come.
        n: the number of generated samples.
        n_real: the largest number of samples of a metric's `subsampled_split`; None: all.
        seed: the seed of the samples' latents.
        open_progress: opens a progress bar.

    Raises:
        ConfigError: a metric cannot measure these data, or needs a split that they do not have.
    """

    metrics: Mapping[str, SampleMetric]
    data: Data
    n: int
    n_real: int | None
    seed: int
    open_progress: ProgressFactory = no_progress

    def __post_init__(self) -> None:
        metrics, data = self.metrics, self.data
        self.higher_is_better: dict[str, bool] = {}
        for name, metric in metrics.items():
            with _completing_errors(name):
                images_only = metric.input_kind == "images" and data.value_range is None
                reason = "measures images, and these data are points"
                require(not images_only, "metric", name, reason, "choose metric=none")
                for split in metric.references:
                    data.split(split, "cpu", BATCH)  # raises an error if the split does not exist
                metric.setup(data, self.n, self._size(metric, metric.subsampled_split or "train"))
            self.higher_is_better |= {value: metric.is_higher_better(value) for value in metric.names}
        splits = [used for m in metrics.values() if (used := m.subsampled_split) and len(m.references) < 2]
        self._classes = {split: data.proportional_labels(self.n, split) for split in splits or ["train"]}
        self.classes = next(iter(self._classes.values()))
        self.floors: dict[str, dict[str, Any]] = {}  # by the names of values, as parts of their records
        self._protocols: dict[str, dict[str, Any]] = {}
        self._hashes: dict[tuple[Split, int], str] = {}
        self._prepared = False

    def __call__(self, game: Game) -> dict[str, float]:
        """The values by name on the main process; {} on the others, which only generate samples.

        The game's weights and torch's default generators stay as they are.
        """
        if not self.metrics:
            return {}
        pieces = self._generate(game)
        if not is_main_process():
            deque(pieces, maxlen=0)
            return {}
        device = next(game.parameters()).device
        self._prepare(device)
        with self.open_progress("metrics of the game", len(self.metrics)) as done:
            for name, metric in self.metrics.items():
                with _completing_errors(name):
                    metric.observe_game(game, self.seed)
                done(1)
        return self.measure(pieces, device)

    def measure(self, samples: Iterable[Tensor], device: torch.device) -> dict[str, float]:
        """The values by name for pieces of samples [N, *shape] in the data's range."""
        self._prepare(device)
        self._pass_samples(samples, self.metrics, split=None, text="samples", total=self.n)
        return self._compute(self.metrics)

    def check_game(self, game: Game) -> None:
        """Checks that all metrics can measure a game.

        Raises:
            ConfigError: a metric cannot.
        """
        for name, metric in self.metrics.items():
            with _completing_errors(name):
                metric.check_game(game)
        proportions = {() if labels is None else tuple(labels.tolist()) for labels in self._classes.values()}
        if game.generator.num_classes and len(proportions) > 1:
            reason = f"the splits {' and '.join(self._classes)} have different proportions of classes"
            raise ConfigError(reason, "compare a conditional game with one split at a time")

    def monitored(self, name: str | None) -> tuple[str | None, bool]:
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
        require(len(matches) == 1, "monitor", name, reason, f"choose one of {', '.join(names) or 'none'}")
        return matches[0], self.higher_is_better[matches[0]]

    def records(self, values: Mapping[str, float], game: Game | None = None) -> MetricRecords:
        """The values with their protocols and floors, as plain values.

        Args:
            game: the game whose samples were measured; None: images from files.
        """
        sampled = {name for metric in self.metrics.values() if metric.uses_samples for name in metric.names}
        return {
            name: {
                "value": value,
                "better": "higher" if self.higher_is_better[name] else "lower",
                "step": None if game is None else game.step,
                **self._protocols[name],
                **({"sampler": "images from files"} if game is None else {"batch_norm": "evaluation mode"}),
                **({} if game is None or name not in sampled else self._sampling(game)),
                **self.floors.get(name, {}),
            }
            for name, value in values.items()
        }

    def _sampling(self, game: Game) -> dict[str, Any]:
        """How the samples of a game are generated."""
        classes = "in turn" if self.classes is None else "as the reference"
        threshold = getattr(game.sampler.prior, "threshold", None)
        return {
            "sampler": "+".join(game.tricks.names_of("sampler", game.generator)) or "generator",
            **({} if threshold is None else {"truncation": threshold}),
            "classes": classes if game.generator.num_classes else "none",
            "latent_seed": self.seed,
        }

    def _generate(self, game: Game) -> Iterator[Tensor]:
        """The samples in pieces; all processes must iterate over them."""
        for start in range(0, self.n, PIECE):
            rows = slice(start, min(start + PIECE, self.n))
            classes = self.classes if game.generator.num_classes else None
            samples = game.sample_on_all_ranks(self.n, self.seed, rows, classes)
            if not samples.isfinite().all():
                raise Diverged(game.step, "a sample is not finite")
            yield samples

    def _prepare(self, device: torch.device) -> None:
        """Passes the real samples to the metrics, and measures the floors, at the first call."""
        if self._prepared:
            return
        self._prepared = True
        references, floors = defaultdict(list), defaultdict(list)  # names of metrics by (split, size)
        for name, metric in self.metrics.items():
            for split in metric.references:
                references[split, self._size(metric, split)].append(name)
            with suppress(KeyError, ConfigError):  # the split does not exist, or is too small
                size = min(self.n, len(self.data.sources[metric.floor_split]))
                metric.check_sample_size(size, size)
                floors[metric.floor_split, size].append(name)
        with cached_on_disk():
            for (split, size), names in references.items():
                samples = self._reference(split, size, device)
                self._pass_samples(samples, names, split=split, text=f"real {split} images", total=size)
            for (split, size), names in floors.items():
                images = (x for x, _ in self.data.subset(split, size, device, BATCH))
                text = f"real {split} images as samples"
                self._pass_samples(images, names, split=None, text=text, total=size)
                self.floors |= {
                    value: {"floor": floor, "floor_n": size, "floor_split": split}
                    for value, floor in self._compute(names).items()
                }

    def _size(self, metric: SampleMetric, split: Split) -> int:
        """The number of real samples of a split with which a metric compares."""
        size = len(self.data.sources[split])
        return min(self.n_real or size, size) if split == metric.subsampled_split else size

    def _reference(self, split: Split, size: int, device: torch.device) -> Iterator[Tensor]:
        """A subset of a split in batches [b, *shape], whose hash is stored."""
        digest, value_range = sha256(), self.data.value_range
        for x, _ in self.data.subset(split, size, device, BATCH):
            levels = x if value_range is None else (to_unit_range(x, value_range) * 255).round().byte()
            digest.update(levels.cpu().contiguous().numpy().tobytes())
            yield x
        self._hashes[split, size] = digest.hexdigest()[:NUM_DIGITS]

    def _pass_samples(
        self, samples: Iterable[Tensor], names: Collection[str], *, split: Split | None, text: str, total: int
    ) -> None:
        """Passes generated samples (split None), or real samples of a split, to the metrics of these names.

        Each batch is passed to all metrics before the next one, so that metrics with the same extractor
        extract its features once.

        Args:
            text, total: the text and the length of the progress bar.
        """
        value_range = self.data.value_range
        with self.open_progress(text, total) as done:
            for points in (rows for piece in samples for rows in torch.split(piece, BATCH)):
                images = points if value_range is None else to_unit_range(points, value_range)
                for name in names:
                    metric = self.metrics[name]
                    x = points if metric.input_kind == "points" else images
                    with _completing_errors(name):
                        metric.update(x, split)
                done(len(points))

    def _compute(self, names: Collection[str]) -> dict[str, float]:
        """The values of the metrics of these names, whose generated samples are dropped afterwards."""
        values: dict[str, float] = {}
        with self.open_progress("metrics", len(names)) as done:
            for name in names:
                metric = self.metrics[name]
                with _completing_errors(name):
                    computed = metric.compute()
                hashes = [self._hashes[split, self._size(metric, split)] for split in metric.references]
                protocol: dict[str, Any] = {
                    "split": "+".join(metric.references) or "none",
                    "shape": list(self.data.shape),
                    **({"reference_sha256": "+".join(hashes)} if hashes else {}),
                    "torch": version("torch"),
                    **metric.protocol(),
                }
                if metric.extras:
                    protocol["beside"] = metric.extras
                self._protocols |= dict.fromkeys(computed, protocol)
                values |= computed
                metric.reset()
                done(1)
        return values


@contextmanager
def _completing_errors(name: str) -> Iterator[None]:
    """Completes the keys of a metric's errors with its name in the config; see `SampleMetric`."""
    try:
        with completing_relative_keys(f"metric.{name}"):
            yield
    except ConfigError as error:
        if error.key:
            raise
        raise ConfigError(error.reason, error.remedy, "metric", name) from error.__cause__
