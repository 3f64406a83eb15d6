"""Toy data on the line, with exact answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Positive
from ganlab.data.densities import Mixture
from ganlab.data.toy import Facts, Toy


class Gaussian1D(Toy):
    """A single Gaussian."""

    def __init__(self, mean: float, std: Positive, **facts: Unpack[Facts]):
        distribution = Mixture.equal([[mean]], std)
        super().__init__(distribution, **facts)


class Mixture1D(Toy):
    """Gaussians, each with its own mean, deviation and weight; weights are probabilities up to a factor."""

    def __init__(
        self,
        means: Sequence[float],
        stds: Sequence[Positive],
        weights: Sequence[Positive],
        **facts: Unpack[Facts],
    ):
        if not len(means) == len(stds) == len(weights) >= 1:
            raise ConfigError(
                f"data.means, data.stds and data.weights have {len(means)}, {len(stds)} and {len(weights)} "
                "numbers: give one of each for every Gaussian"
            )
        distribution = Mixture([[mean] for mean in means], stds, weights)
        super().__init__(distribution, **facts)
