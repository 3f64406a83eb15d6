"""The metrics of a run: reals are shown once, then any number of games are measured against them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ganlab.data.base import Data
from ganlab.errors import Diverged, Refused
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.randomness import generator
from ganlab.ranks import first

BATCH = 100  # samples at a time; the numbers do not depend on it


class Evaluation:
    """Measures the samples of a game against the training images, beside the floor.

    The reference is a fixed choice of `n_real` training images; the floor is what a fixed choice of
    `n` real test images (all, if there are fewer) scores against it.

    Args:
        metrics: by their names in the config.
        n: how many samples.
        n_real: how many training images, at most.
        seed: of the samples' latents.

    Raises:
        Refused: n or n_real is below 1, or a metric cannot measure these data.
    """

    def __init__(self, metrics: Mapping[str, SampleMetric], data: Data, n: int, n_real: int, seed: int):
        if min(n, n_real) < 1:
            raise Refused(f"evaluation.n={n} and evaluation.n_real={n_real} must be at least 1")
        if metrics and data.value_range is None:
            raise Refused(
                f"the metrics {', '.join(metrics)} measure images, not these data: choose metric=none"
            )
        if metrics:
            data.split("test", "cpu", BATCH)  # refused here, where there is none for the floor
        for metric in metrics.values():
            metric.check(data.shape, n, n_real)
        self.metrics = metrics
        self.data = data
        self.n = n
        self.n_real = n_real
        self.seed = seed
        self.floor: dict[str, float] = {}
        self._floor_size = 0
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
        self._show(samples, real=False)
        return self._compute()

    def record(self, numbers: Mapping[str, float], game: Game) -> dict[str, dict[str, Any]]:
        """The numbers with how each was made, as plain values."""
        how = {
            "split": "train",
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
                "floor": self.floor[name],
                "floor_n": self._floor_size,
            }
            for name, value in numbers.items()
        }

    def _prepare(self, device: torch.device) -> None:
        """Shows the reference, and measures the floor with test images as fakes."""
        self._show(self._choice("train", self.n_real, device), real=True)
        test = self._choice("test", self.n, device)
        self._floor_size = len(test)
        self._show(test, real=False)
        self.floor = self._compute()

    def _choice(self, split: Literal["train", "test"], n: int, device: torch.device) -> Tensor:
        """At most n samples of a split, the same in every run; all where there are fewer."""
        x = torch.cat([x for x, _ in self.data.split(split, device, BATCH)])
        order = torch.randperm(len(x), generator=generator("evaluation", split))
        return x[order[:n].to(x.device)]

    def _show(self, samples: Tensor, real: bool) -> None:
        for x in torch.split(samples, BATCH):
            for metric in self.metrics.values():
                metric.update(unit(x, self.data.value_range), real=real)

    def _compute(self) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for metric in self.metrics.values():
            found = metric.compute()
            self._protocols |= dict.fromkeys(found, metric.protocol())
            numbers |= found
            metric.reset()
        return numbers


def unit(x: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    """Samples in [0, 1]."""
    assert value_range is not None
    low, high = value_range
    return ((x - low) / (high - low)).clamp(0, 1)
