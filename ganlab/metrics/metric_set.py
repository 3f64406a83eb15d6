"""All metrics of a run, measured on the same samples; the protocols and the floors of their values."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, completing_relative_keys, require
from ganlab.data.base import Data, Split
from ganlab.game import Game
from ganlab.metrics.base import GENERATED, Generated, SampleMetric
from ganlab.metrics.features import caching_features_on_disk, to_unit_range
from ganlab.metrics.protocols import EXTRAS_KEY

Metrics = Mapping[str, SampleMetric]  # metrics by their names in the config
# The metrics that receive the same samples, by the split and the number of these samples.
MetricsBySamples = defaultdict[tuple[Split, int], dict[str, SampleMetric]]
# The type of functions such as `progress_bar` in ganlab.training.callbacks.progress. The function gets a text
# and a total, and returns a context manager, which shows a bar and yields a function `advance(number)`.
OpenProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
BATCH = 100  # samples that are passed to metrics at a time; values do not depend on it


@dataclass(eq=False)
class MetricSet:
    """Measures metrics on the same samples, and their floors, which are the values of real samples.

    A metric refers to splits of the data by these attributes:
        references: the metric compares generated samples with the real samples of these splits.
        subsampled_split: the reference of which at most `n_real` random samples are used, always the same.
        floor_split: at most `n` real samples of this split replace the generated ones, to measure the floor.
            If the split has too few samples for a metric, or it measures the game itself, it has no floor.

    Args:
        metrics: the metrics. Each computes one or more values, and each value has a name.
        data: the data from which real samples come.
        n: the number of generated samples.
        n_real: the largest number of samples of a metric's `subsampled_split`; None: all.
        seed: the seed of the latents of generated samples.
        open_progress_bar: opens a progress bar; by default, none is shown.

    Attributes:
        protocols: the protocols of the last values, by the names of the values.
        floors: what records say about the floors, by the names of the values.

    Raises:
        ConfigError: a metric cannot measure these data, or needs a split that they do not have.
    """

    metrics: Metrics
    data: Data
    n: int
    n_real: int | None
    seed: int
    open_progress_bar: OpenProgressBar = lambda text, total: nullcontext(lambda number: None)

    def __post_init__(self) -> None:
        self.protocols: dict[str, dict[str, Any]] = {}
        self.floors: dict[str, dict[str, Any]] = {}
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

    def measure(
        self, samples: Iterable[Tensor], device: torch.device, game: Game | None = None
    ) -> dict[str, float]:
        """Measures all metrics, and returns the values by their names.

        Args:
            samples: chunks of generated samples [N, *shape] in the data's range.
            device: the device of the samples.
            game: the game that generated the samples; None: they are images from files.
        """
        if not self._has_real_samples:
            self._has_real_samples = True
            with caching_features_on_disk():  # real samples are the same in every run
                self._pass_real_samples(device)
                self._measure_floors(device)
        self._pass_samples(samples, self.metrics, GENERATED, text="samples", n=self.n)
        return self._compute_and_reset(self.metrics, game)

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
        """Passes samples to metrics in batches.

        Each batch is passed to all metrics before the next batch, so that metrics with the same extractor
        extract the features of a batch once.

        Args:
            chunks: the samples, in chunks [N, *shape].
            metrics: the metrics that receive the samples.
            split: the split of the real samples; `GENERATED` for generated samples.
            text: the text of the progress bar.
            n: the number of all samples, for the progress bar.
        """
        value_range = self.data.value_range
        with self.open_progress_bar(text, n) as advance:
            for chunk in chunks:
                for x in torch.split(chunk, BATCH):
                    images = x if value_range is None else to_unit_range(x, value_range)
                    for name, metric in metrics.items():
                        with completing_error_keys(name):
                            metric.update(x if metric.input_kind == "points" else images, split)
                    advance(len(x))

    def _compute_and_reset(self, metrics: Metrics, game: Game | None = None) -> dict[str, float]:
        """Computes metrics, drops their generated samples, and returns the values by their names."""
        values: dict[str, float] = {}
        with self.open_progress_bar("metrics", len(metrics)) as advance:
            for name, metric in metrics.items():
                with completing_error_keys(name):
                    if game is not None:
                        metric.observe_game(game, self.seed)
                    values_of_metric = metric.compute()
                values |= values_of_metric
                self.protocols |= dict.fromkeys(values_of_metric, self._protocol(metric))
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


@contextmanager
def completing_error_keys(name: str) -> Iterator[None]:
    """Completes the keys of the errors of the metric with this name: ".k" of "prdc" becomes "metric.prdc.k".

    An error without a key gets the key "metric" with the value `name`.
    """
    try:
        with completing_relative_keys(f"metric.{name}"):
            yield
    except ConfigError as error:
        if error.key:
            raise
        raise ConfigError(error.reason, error.remedy, "metric", name) from error.__cause__
