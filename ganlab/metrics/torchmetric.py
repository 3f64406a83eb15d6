"""Metrics of torchmetrics, and of yours with its interface, as metrics of a run.

The parameters of the method `update` say what a metric compares:

update(images, real=...)   generated images with real ones, as FrechetInceptionDistance does
update(images)             nothing: it measures generated images alone, as InceptionScore does
update(images, targets)    generated images with the right ones for their conditions, as
                           StructuralSimilarityIndexMeasure does; for paired data only

Images are float32 in [0, 1], rounded to 256 levels. They are uint8 for a metric with `normalize=False`, and
lie in `data_range` if this is one of its settings, as torchmetrics means both. A class attribute
`image_range`, such as (-1, 1), says another range; None: samples stay as they are, such as points.
"""

import inspect
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ganlab.core.errors import ConfigError, error_message, require
from ganlab.data.base import Data, Split
from ganlab.game import Game
from ganlab.metrics.base import GENERATED, Generated, SampleMetric, require_enough, short_number
from ganlab.metrics.features import ProtocolFields, to_levels, to_unit_range
from ganlab.metrics.paired import answered_conditions, require_pairs

BATCH = 100  # pairs that are compared at a time


def adapt(metric: Any, name: str, settings: Mapping[str, Any], split: Split) -> Any:
    """A metric of torchmetrics as one of ganlab; anything else as it is.

    Args:
        name: the name of the metric in the config, with which the name of its value begins.
        settings: the node of the metric in the config.
        split: the split of the real images, if the metric compares with any.

    Raises:
        ConfigError: its `update` has other parameters, or it does not say whether higher values are better.
    """
    if not isinstance(metric, Metric):
        return metric
    parameters = [*inspect.signature(metric.update).parameters]
    remedy = "derive a class with update(images, real), update(images) or update(images, targets)"
    require(1 <= len(parameters) <= 2, f"has update({', '.join(parameters)})", remedy)
    remedy = "set the attribute higher_is_better of the class, or of one derived from it, to True or False"
    require(metric.higher_is_better is not None, "does not say whether higher is better", remedy)
    if len(parameters) == 2 and "real" not in parameters:
        return OfPairs(metric, name, settings, ("test",))
    return TorchMetric(metric, name, settings, (split,) if "real" in parameters else ())


class TorchMetric(SampleMetric):
    """A metric of torchmetrics.

    It is called with fixed random numbers, and in one process alone, so that its value depends on the samples
    only. Of several results, such as a mean and its deviation, the first is the value, and the others are the
    `extras`.

    Args:
        references: the split of the real images; () if the metric measures generated images alone.
    """

    def __init__(self, metric: Metric, name: str, settings: Mapping[str, Any], references: tuple[Split, ...]):
        self.metric, self.name, self.settings, self.references = metric, name, settings, references
        self.higher_is_better = bool(metric.higher_is_better)
        self.subsampled_split = self.class_split = references[0] if references else None
        self.floor_split = "train" if references == ("test",) else "test"
        self.takes_bytes = getattr(metric, "normalize", None) is False
        limit = settings.get("data_range") or 1.0
        self.image_range = getattr(metric, "image_range", limit if isinstance(limit, list) else (0.0, limit))
        self.input_kind = "points" if self.image_range is None else "images"
        metric.distributed_available_fn = lambda: False  # or it would wait for processes that do not measure
        self.num_samples: Counter[bool] = Counter()  # by whether they are real
        self._real_state: dict[str, Any] = {}  # what it has seen of the real samples

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        self.names = (f"{self.name}/{'_'.join([*self.references, short_number(n_fake)])}",)
        self.check_sample_size(n_fake, n_real)
        blank = torch.stack([torch.zeros(data.shape), torch.ones(data.shape)])
        self.try_on(deepcopy(self.metric), blank)

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        size = getattr(self.metric, "subset_size", 1)  # that of KernelInceptionDistance
        sizes = {"generated": n_fake, "real": n_real if self.references else n_fake}
        require_enough(size, sizes, "a subset needs so many samples", "lower it", ".subset_size", size)

    def try_on(self, metric: Metric, blank: Tensor) -> None:
        """Calls a copy of the metric, so that what it refuses is refused before training."""
        self.call(metric.update, blank, **({"real": False} if self.references else {}))

    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        is_real = split != GENERATED
        if not is_real and not self.num_samples[False]:
            state = self.metric.metric_state
            self._real_state = {k: [*v] if isinstance(v, list) else v.clone() for k, v in state.items()}
        self.num_samples[is_real] += len(x)
        self.call(self.metric.to(x.device).update, x, **({"real": is_real} if self.references else {}))

    def compute(self) -> dict[str, float]:
        output = self.call(self.metric.compute)
        try:
            value, *others = map(float, output if isinstance(output, tuple | list) else [output])
        except (TypeError, ValueError, RuntimeError) as error:
            reason = f"computes {type(output).__name__}, which is not a number"
            raise ConfigError(reason, "derive a class whose compute returns one") from error
        self.extras = {f"result_{i}": other for i, other in enumerate(others, start=2)}
        return {self.names[0]: value}

    def reset(self) -> None:
        self.metric.reset()
        for name, value in self._real_state.items():
            setattr(self.metric, name, value)
        self.num_samples[False] = 0

    def protocol(self) -> ProtocolFields:
        given = {f"metric.{key}": str(value) for key, value in self.settings.items()}
        sizes = {"n_real": self.num_samples[True], "n_fake": self.num_samples[False]}
        image_range = "uint8" if self.takes_bytes else str(self.image_range)
        return {**given, **sizes, "image_range": image_range, "torchmetrics": version("torchmetrics")}

    def call(self, method: Any, *samples: Tensor, **settings: bool) -> Any:
        """Calls a method with images in the range that the metric wants, and with fixed random numbers."""
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                return method(*map(self.as_wanted, samples), **settings)
        except Exception as error:  # a metric may raise anything about images that it cannot measure
            remedy = "change its settings, the data, or its code: HYDRA_FULL_ERROR=1 shows where"
            raise ConfigError(error_message(error).rstrip("."), remedy) from error

    def as_wanted(self, x: Tensor) -> Tensor:
        """Samples in [0, 1] in the range that the metric wants."""
        if self.image_range is None:
            return x
        levels, (low, high) = to_levels(x), self.image_range
        return levels if self.takes_bytes else levels.float() / 255 * (high - low) + low


class OfPairs(TorchMetric):
    """A metric of torchmetrics that compares one sample for each test condition with the right one."""

    needs_game = True

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        parameters = ", ".join(inspect.signature(self.metric.update).parameters)
        require_pairs(data, f"has update({parameters}) without a parameter named real, so it needs")
        self._data = data
        super().setup(data, len(data.sources["test"]), n_real)

    def try_on(self, metric: Metric, blank: Tensor) -> None:
        self.call(metric.update, blank, blank)

    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        """Does nothing, because the metric draws samples of its own."""

    def observe_game(self, game: Game, seed: int) -> None:
        for *pair, _ in answered_conditions(self._data, game, seed, BATCH):
            self.num_samples[False] += len(pair[0])
            self.call(self.metric.update, *(to_unit_range(x, self._data.value_range) for x in pair))
