"""Toy data on the line, with exact answers."""

from __future__ import annotations

from collections.abc import Sequence

from ganlab.data.densities import Mixture
from ganlab.data.facts import positive
from ganlab.data.toy import Toy
from ganlab.errors import Refused


class Gaussian1D(Toy):
    """A single Gaussian."""

    def __init__(
        self,
        mean: float,
        std: float,
        size: int,
        data_seed: int,
        shape: Sequence[int],
        num_classes: int,
        range: None,
        batch_size: int,
    ):
        positive(std=std)
        distribution = Mixture.equal([[mean]], std)
        super().__init__(distribution, size, data_seed, shape, num_classes, range, batch_size)


class Mixture1D(Toy):
    """Gaussians, each with its own mean, deviation and weight; weights are probabilities up to a factor."""

    def __init__(
        self,
        means: Sequence[float],
        stds: Sequence[float],
        weights: Sequence[float],
        size: int,
        data_seed: int,
        shape: Sequence[int],
        num_classes: int,
        range: None,
        batch_size: int,
    ):
        if not len(means) == len(stds) == len(weights) >= 1:
            raise Refused(
                f"data.means, data.stds and data.weights have {len(means)}, {len(stds)} and {len(weights)} "
                "numbers: give one of each for every Gaussian"
            )
        for std, weight in zip(stds, weights, strict=True):
            positive(stds=std, weights=weight)
        distribution = Mixture([[mean] for mean in means], stds, weights)
        super().__init__(distribution, size, data_seed, shape, num_classes, range, batch_size)
