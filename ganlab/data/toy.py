"""Toy data in the plane, with exact answers: mixtures of Gaussians on a circle, a grid and a spiral."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Annotated, TypedDict, Unpack

import numpy as np

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, NotNegative, Positive, TwoOrMore, Whole, check_declared
from ganlab.data.base import Data
from ganlab.data.densities import Mixture
from ganlab.data.sources import Memory


class Facts(TypedDict):
    """What is said of all toys alike."""

    size: Count
    data_seed: Whole
    shape: Sequence[int]
    num_classes: int | None
    range: None
    batch_size: Count


class Toy(Data):
    """Both splits, `size` samples each, of a known distribution; where it has modes they are the classes.

    Raises:
        ConfigError: a declared fact contradicts the distribution.
    """

    distribution: Mixture

    def __init__(self, distribution: Mixture, **facts: Unpack[Facts]):
        check_declared("shape", facts["shape"], tuple(distribution.centres.shape[1:]))
        check_declared("num_classes", facts["num_classes"], len(distribution.centres))
        check_declared("range", facts["range"], None)
        self.distribution = distribution
        sources = {}
        for split in ("train", "test"):
            x, modes = distribution.sample_with_modes(
                facts["size"], seeded_generator(facts["data_seed"], split)
            )
            sources[split] = Memory(x, modes, flip=False)
        super().__init__(facts["shape"], facts["num_classes"], None, facts["batch_size"], sources)


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


class Ring(Toy):
    """Gaussians of deviation `std` at equal angles on a circle, the first on the first axis.

    Eight of radius 1 are what PacGAN (Lin et al. 2018) and the released code of Metz et al. (2017) draw.
    """

    def __init__(self, modes: Count, radius: NotNegative, std: Positive, **facts: Unpack[Facts]):
        distribution = Mixture.equal(circle(modes, radius), std)
        super().__init__(distribution, **facts)


class Grid(Toy):
    """Gaussians of deviation `std` at all pairs of `coordinates` (Lin et al. 2018)."""

    def __init__(self, coordinates: Annotated[Sequence[float], 1], std: Positive, **facts: Unpack[Facts]):
        distribution = Mixture.equal(list(product(coordinates, repeat=2)), std)
        super().__init__(distribution, **facts)


class Spiral(Toy):
    """Gaussians of deviation `std` at equal distances along an Archimedean spiral of some `turns`.

    Its distance from the origin grows from 0 to `radius`. The Gaussians, which touch, are its modes: how many
    are covered says how much of the curve is.
    """

    def __init__(
        self, turns: Positive, radius: Positive, components: TwoOrMore, std: Positive, **facts: Unpack[Facts]
    ):
        distribution = Mixture.equal(spiral(turns, radius, components), std)
        super().__init__(distribution, **facts)


def circle(num: int, radius: float) -> list[list[float]]:
    """Points at equal angles, [num, 2]."""
    angles = 2 * np.pi * np.arange(num) / num
    return (radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).tolist()


def spiral(turns: float, radius: float, num: int) -> list[list[float]]:
    """Points at equal distances along r = radius * angle / (2 pi turns), both ends included, [num, 2]."""
    angles = np.linspace(0, 2 * np.pi * turns, 10_000)
    length = angles * np.hypot(1, angles) + np.arcsinh(angles)  # of the curve up to an angle, up to a factor
    angle = np.interp(np.linspace(0, length[-1], num), length, angles)  # [num]
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * angle[:, None]  # [num, 2]
    return (radius / angles[-1] * points).tolist()
