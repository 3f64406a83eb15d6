"""Toy data: mixtures of Gaussians on the line and in the plane, whose densities are known."""

from collections.abc import Sequence
from itertools import product
from typing import Unpack

import numpy as np

from ganlab.core.errors import UNSET, require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, NonEmpty, NotNegative, Positive, TwoOrMore, Whole
from ganlab.data.base import Data, DataSettings, check_settings
from ganlab.data.densities import Mixture
from ganlab.data.sources import Memory


class ToyArgs(DataSettings):
    """The settings of every toy."""

    size: Count  # number of samples in each split
    data_seed: Whole  # seed of the samples


class Toy(Data):
    """Base class of toys: two splits, `train` and `test`, drawn from a mixture whose modes are the classes.

    Raises:
        ConfigError: a setting contradicts the distribution.
    """

    distribution: Mixture

    def __init__(self, distribution: Mixture, size: int, data_seed: int, **settings: Unpack[DataSettings]):
        centres = distribution.centres
        check_settings(settings, shape=tuple(centres.shape[1:]), num_classes=len(centres), range=None)
        self.distribution = distribution
        samples = {s: distribution.sample(size, seeded_generator(data_seed, s)) for s in ("train", "test")}
        sources = {split: Memory(x, modes, flip=False) for split, (x, modes) in samples.items()}
        super().__init__(**settings, sources=sources)


class Gaussian1D(Toy):
    """One Gaussian on the line."""

    def __init__(self, mean: float, std: Positive, **base: Unpack[ToyArgs]):
        super().__init__(Mixture.equal([[mean]], std), **base)


class Mixture1D(Toy):
    """Gaussians on the line, each with a mean, a standard deviation and a weight.

    Args:
        weights: the probabilities of the Gaussians, up to a common factor.

    Raises:
        ConfigError: the three lists differ in length, or are empty.
    """

    def __init__(
        self,
        means: Sequence[float],
        stds: Sequence[Positive],
        weights: Sequence[Positive],
        **base: Unpack[ToyArgs],
    ):
        reason = f"means, stds and weights have {len(means)}, {len(stds)} and {len(weights)} elements"
        fits = len(means) == len(stds) == len(weights) >= 1
        require(fits, "", UNSET, reason, "give one of each for every Gaussian")
        super().__init__(Mixture([[mean] for mean in means], stds, weights), **base)


class Ring(Toy):
    """Gaussians at equal angles on a circle around the origin, the first of them on the first axis.

    PacGAN (Lin et al. 2018) and the released code of Metz et al. (2017) have eight with radius 1.
    """

    def __init__(self, modes: Count, radius: NotNegative, std: Positive, **base: Unpack[ToyArgs]):
        angles = 2 * np.pi * np.arange(modes) / modes
        centres = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # [modes, 2]
        super().__init__(Mixture.equal(centres.tolist(), std), **base)


class Grid(Toy):
    """Gaussians in the plane at all points whose two coordinates are in a list (Lin et al. 2018)."""

    def __init__(self, coordinates: NonEmpty[float], std: Positive, **base: Unpack[ToyArgs]):
        super().__init__(Mixture.equal(list(product(coordinates, repeat=2)), std), **base)


class Spiral(Toy):
    """Gaussians at equal distances along an Archimedean spiral, from the origin to `radius`.

    Neighbours overlap, so the fraction of covered modes estimates the covered fraction of the curve.

    Args:
        turns: the number of turns of the spiral around the origin.
        radius: the distance of the last Gaussian from the origin.
        components: the number of Gaussians.
    """

    def __init__(
        self, turns: Positive, radius: Positive, components: TwoOrMore, std: Positive, **base: Unpack[ToyArgs]
    ):
        # The spiral is r = radius * angle / (2 pi turns); equal arc lengths are found by interpolation.
        angles = np.linspace(0, 2 * np.pi * turns, 10_000)
        # The arc length up to each angle, times a constant factor.
        length = angles * np.hypot(1, angles) + np.arcsinh(angles)
        angle = np.interp(np.linspace(0, length[-1], components), length, angles)  # [components]
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * angle[:, None]  # [components, 2]
        super().__init__(Mixture.equal((radius / angles[-1] * points).tolist(), std), **base)
