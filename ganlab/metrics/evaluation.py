"""The metrics of a run: reals are shown once, then any number of games are measured against them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ganlab.data.base import Data, Split
from ganlab.errors import Diverged, Refused
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.ranks import first

BATCH = 100  # samples at a time; the numbers do not depend on it


class Evaluation:
    """Measures the samples of a game against real ones, beside the floor.

    The reference is what each metric asks for: a fixed choice of `n_real` training images, the whole
    validation or test split. The floor is what a fixed choice of `n` real images of the metric's anchor
    (all, if there are fewer) scores against it.

    Args:
        metrics: by their names in the config.
        n: how many samples.
        n_real: how many training images, at most.
        seed: of the samples' latents.

    Raises:
        Refused: n or n_real is below 1, a metric cannot measure these data, or needs a split that they
            do not have.
    """

    def __init__(self, metrics: Mapping[str, SampleMetric], data: Data, n: int, n_real: int, seed: int):
        if min(n, n_real) < 1:
            raise Refused(f"evaluation.n={n} and evaluation.n_real={n_real} must be at least 1")
        if data.value_range is None:
            refuse_images(metrics)
        for metric in metrics.values():
            for split in {metric.anchor, *metric.references}:
                data.split(split, "cpu", BATCH)  # refused here, where there is none
            metric.check(data, n, n_real)
        self.metrics = metrics
        self.data = data
        self.n = n
        self.n_real = n_real
        self.seed = seed
        self.floor: dict[str, float] = {}
        self.anchor = {name: metric.anchor for metric in metrics.values() for name in metric.names}
        self._floor_size: dict[Split, int] = {}
        self._protocols: dict[str, dict[str, Any]] = {}

    def __call__(self, game: Game) -> dict[str, float]:
        """The numbers by name, on the first process; the others make their part of the samples.

        The game's weights and the default generators stay as they are.
        """
        if not self.metrics:
            return {}
        samples = game.sample_on_all(self.n, seed=self.seed)
        if not first():
            return {}
        if not self.floor:
            self._prepare(samples.device)
        if not samples.isfinite().all():
            raise Diverged(game.step, "a sample is not finite")
        for metric in self.metrics.values():
            metric.look(game)
        return self._measure(samples, self.metrics.values())

    def suits(self, game: Game) -> None:
        """Refuses a game that a metric cannot measure."""
        for metric in self.metrics.values():
            metric.suits(game)

    def record(self, numbers: Mapping[str, float], game: Game) -> dict[str, dict[str, Any]]:
        """The numbers with how each was made, as plain values."""
        how = {
            "sampler": "+".join(game.tricks.samplers(game.generator)) or "generator",
            "classes": "in turn" if game.generator.num_classes else "none",
            "batch_norm": "evaluation mode",
            "latent_seed": self.seed,
        }
        return {
            name: {
                "value": value,
                "step": game.step,
                **self._protocols[name],
                **how,
                **self._floor(name),
            }
            for name, value in numbers.items()
        }

    def _floor(self, name: str) -> dict[str, Any]:
        """What real images score, where that is a number of samples."""
        if name not in self.floor:
            return {}
        split = self.anchor[name]
        return {"floor": self.floor[name], "floor_n": self._floor_size[split], "floor_split": split}

    def _prepare(self, device: torch.device) -> None:
        """Shows the references, and measures the floor with real images as fakes."""
        for split in unique(split for metric in self.metrics.values() for split in metric.references):
            reals = self._images(split, self.n_real if split == "train" else None, device)
            for metric in self.metrics.values():
                if split in metric.references:
                    for x in self._batches(reals, metric):
                        metric.refer(x, split)
        for split in unique(metric.anchor for metric in self.metrics.values()):
            images = self._images(split, self.n, device)
            self._floor_size[split] = len(images)
            anchored = [metric for metric in self.metrics.values() if metric.anchor == split]
            self.floor |= self._measure(images, anchored)

    def _images(self, split: Split, n: int | None, device: torch.device) -> Tensor:
        """At most n samples of a split, the same in every run; all in their order where n is None."""
        found = (
            self.data.split(split, device, BATCH) if n is None else self.data.choice(split, n, device, BATCH)
        )
        return torch.cat([x for x, _ in found])

    def _measure(self, fakes: Tensor, metrics: Collection[SampleMetric]) -> dict[str, float]:
        """What the metrics say of some samples."""
        numbers: dict[str, float] = {}
        for metric in metrics:
            for x in self._batches(fakes, metric):
                metric.update(x, real=False)
            found = metric.compute()
            how = {"split": "+".join(metric.references), **metric.protocol()}
            self._protocols |= dict.fromkeys(found, how)
            numbers |= found
            metric.reset()
        return numbers

    def _batches(self, samples: Tensor, metric: SampleMetric) -> Iterator[Tensor]:
        """Samples as a metric wants to be shown them."""
        for x in torch.split(samples, BATCH):
            yield x if metric.measures == "points" else unit(x, self.data.value_range)


def unique(splits: Iterable[Split]) -> list[Split]:
    """Each split once, in the order of its first appearance."""
    return list(dict.fromkeys(splits))


def refuse_images(metrics: Mapping[str, SampleMetric]) -> None:
    """Refuses metrics that measure images."""
    names = [name for name, metric in metrics.items() if metric.measures == "images"]
    if names:
        raise Refused(f"the metrics {', '.join(names)} measure images, not these data: choose metric=none")


def unit(x: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    """Samples in [0, 1]."""
    assert value_range is not None
    low, high = value_range
    return ((x - low) / (high - low)).clamp(0, 1)
