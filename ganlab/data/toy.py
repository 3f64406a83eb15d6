"""Toy data sets: samples of mixtures of Gaussians on the line and in the plane, whose densities are known."""

from collections.abc import Sequence
from itertools import product
from typing import Unpack

import numpy as np

from ganlab.core.errors import require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, NonEmpty, NotNegative, Positive, TwoOrMore, Whole
from ganlab.data.base import Data, DataSettings, check_settings
from ganlab.data.densities import Mixture
from ganlab.data.sources import TensorSource


class ToyArgs(DataSettings):
    """The settings of every toy data set."""

    size: Count  # the number of samples in each split; at least 1
    data_seed: Whole  # the seed of the samples; at least 0


class Toy(Data):
    """The base class of toy data sets: two splits, `train` and `test`, drawn from a mixture of Gaussians.

    The label of a sample is the index of its Gaussian.

    Raises:
        ConfigError: a setting contradicts the distribution.
    """

    distribution: Mixture

    def __init__(self, distribution: Mixture, size: int, data_seed: int, **settings: Unpack[DataSettings]):
        centres = distribution.centres
        check_settings(settings, shape=tuple(centres.shape[1:]), num_classes=len(centres), range=None)
        self.distribution = distribution

        def draw(split: str) -> TensorSource:
            return TensorSource(*distribution.sample(size, seeded_generator(data_seed, split)), flip=False)

        super().__init__(**settings, sources={"train": draw("train"), "test": draw("test")})


class Gaussian1D(Toy):
    """One Gaussian on the line."""

    def __init__(self, mean: float, std: Positive, **args: Unpack[ToyArgs]):
        super().__init__(Mixture.with_equal_weights([[mean]], std), **args)


class Mixture1D(Toy):
    """Several Gaussians on the line.

    Args:
        means: the mean of each Gaussian.
        stds: the standard deviation of each Gaussian.
        weights: the probabilities of the Gaussians, up to a common factor.

    Raises:
        ConfigError: the three lists differ in length, or are empty.
    """

    def __init__(
        self,
        means: Sequence[float],
        stds: Sequence[Positive],
        weights: Sequence[Positive],
        **args: Unpack[ToyArgs],
    ):
        reason = f"has {len(means)} elements, data.stds {len(stds)}, and data.weights {len(weights)}"
        fits = len(means) == len(stds) == len(weights) >= 1
        require(fits, reason, "give one of each for every Gaussian", ".means", list(means))
        super().__init__(Mixture([[mean] for mean in means], stds, weights), **args)


class Ring(Toy):
    """Gaussians at equal angles on a circle around the origin, the first of them on the first axis.

    PacGAN (Lin et al. 2018) and the released code of Metz et al. (2017) use eight Gaussians and radius 1.
    """

    def __init__(self, modes: Count, radius: NotNegative, std: Positive, **args: Unpack[ToyArgs]):
        angles = 2 * np.pi * np.arange(modes) / modes
        centres = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # [modes, 2]
        super().__init__(Mixture.with_equal_weights(centres.tolist(), std), **args)


class Grid(Toy):
    """Gaussians on a grid in the plane (Lin et al. 2018).

    Args:
        coordinates: the values of the two coordinates of the centres. Each pair of values is a centre.
    """

    def __init__(self, coordinates: NonEmpty[float], std: Positive, **args: Unpack[ToyArgs]):
        super().__init__(Mixture.with_equal_weights(list(product(coordinates, repeat=2)), std), **args)


class Spiral(Toy):
    """Gaussians at equal distances along an Archimedean spiral, from the origin to `radius`.

    Neighbouring Gaussians overlap, so that they fill the curve. The fraction of Gaussians that a generator
    covers therefore estimates the fraction of the curve that it covers.

    Args:
        turns: the number of turns of the spiral around the origin.
        radius: the distance of the last Gaussian from the origin.
        components: the number of Gaussians.
    """

    def __init__(
        self, turns: Positive, radius: Positive, components: TwoOrMore, std: Positive, **args: Unpack[ToyArgs]
    ):
        # On the spiral with distance t at angle t, the arc length is (t sqrt(1 + t^2) + arcsinh(t)) / 2. The
        # angles at equal distances along the curve are interpolated in a fine table of arc lengths.
        table_angles = np.linspace(0, 2 * np.pi * turns, 10_000)
        lengths = table_angles * np.hypot(1, table_angles) + np.arcsinh(table_angles)  # twice the arc lengths
        angles = np.interp(np.linspace(0, lengths[-1], components), lengths, table_angles)  # [components]
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * angles[:, None]  # [components, 2]
        centres = radius / table_angles[-1] * points  # the last one is at `radius`
        super().__init__(Mixture.with_equal_weights(centres.tolist(), std), **args)
