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


class ToySettings(DataSettings):
    """The settings of every toy data set."""

    size: Count  # the number of samples in each split; at least 1
    data_seed: Whole  # the seed of the samples; at least 0


class Toy(Data):
    """Two splits, `train` and `test`, drawn from a mixture of Gaussians.

    The label of a sample is the index of its Gaussian. With `classes`, `distribution` has only these
    Gaussians. It stays that of the test split if the training split keeps a part of a class.

    Args:
        distribution: the mixture; the functions below return the data sets of usual ones.
    """

    distribution: Mixture

    def __init__(self, distribution: Mixture, size: int, data_seed: int, **settings: Unpack[DataSettings]):
        centres = distribution.centres
        check_settings(settings, shape=tuple(centres.shape[1:]), num_classes=len(centres), range=None)
        drawn = {s: distribution.sample(size, seeded_generator(data_seed, s)) for s in ("train", "test")}
        sources = {split: TensorSource(*samples, flip=False) for split, samples in drawn.items()}
        super().__init__(**settings, sources=sources)
        # Without the setting `classes`, Gaussians have no names. With it, their names are their indices.
        names = self.class_names
        self.distribution = distribution.part(list(map(int, names))) if names else distribution


# The names are those of the classes that these functions replace, because configs of earlier runs have them.


def Gaussian1D(mean: float, std: Positive, **settings: Unpack[ToySettings]) -> Toy:  # noqa: N802
    """One Gaussian on the line."""
    return Toy(Mixture.with_equal_weights([[mean]], std), **settings)


def Mixture1D(  # noqa: N802
    means: Sequence[float],
    stds: Sequence[Positive],
    weights: Sequence[Positive],
    **settings: Unpack[ToySettings],
) -> Toy:
    """Several Gaussians on the line.

    Args:
        means: the mean of each Gaussian.
        stds: the standard deviation of each Gaussian.
        weights: the probabilities of the Gaussians, up to a common factor.

    Raises:
        ConfigError: the three lists differ in length, or are empty.
    """
    reason = f"has {len(means)} elements, data.stds {len(stds)}, and data.weights {len(weights)}"
    fits = len(means) == len(stds) == len(weights) >= 1
    require(fits, reason, "give one of each for every Gaussian", ".means", list(means))
    return Toy(Mixture([[mean] for mean in means], stds, weights), **settings)


def Ring(modes: Count, radius: NotNegative, std: Positive, **settings: Unpack[ToySettings]) -> Toy:  # noqa: N802
    """Gaussians at equal angles on a circle around the origin, the first of them on the first axis.

    PacGAN (Lin et al. 2018) and the released code of Metz et al. (2017) use eight Gaussians and radius 1.
    """
    angles = 2 * np.pi * np.arange(modes) / modes
    centres = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # [modes, 2]
    return Toy(Mixture.with_equal_weights(centres.tolist(), std), **settings)


def Grid(coordinates: NonEmpty[float], std: Positive, **settings: Unpack[ToySettings]) -> Toy:  # noqa: N802
    """Gaussians on a grid in the plane (Lin et al. 2018).

    Args:
        coordinates: the values of the two coordinates of the centres. Each pair of values is a centre.
    """
    return Toy(Mixture.with_equal_weights(list(product(coordinates, repeat=2)), std), **settings)


def Spiral(  # noqa: N802
    turns: Positive, radius: Positive, components: TwoOrMore, std: Positive, **settings: Unpack[ToySettings]
) -> Toy:
    """Gaussians at equal distances along an Archimedean spiral, from the origin to `radius`.

    Neighbouring Gaussians overlap, so that they fill the curve. The fraction of Gaussians that a generator
    covers therefore estimates the fraction of the curve that it covers.

    Args:
        turns: the number of turns of the spiral around the origin.
        radius: the distance of the last Gaussian from the origin.
        components: the number of Gaussians.
    """
    # On the spiral with distance t at angle t, the arc length is (t sqrt(1 + t^2) + arcsinh(t)) / 2. The
    # angles at equal distances along the curve are interpolated in a fine table of arc lengths.
    table_angles = np.linspace(0, 2 * np.pi * turns, 10_000)
    lengths = table_angles * np.hypot(1, table_angles) + np.arcsinh(table_angles)  # twice the arc lengths
    angles = np.interp(np.linspace(0, lengths[-1], components), lengths, table_angles)  # [components]
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * angles[:, None]  # [components, 2]
    centres = radius / table_angles[-1] * points  # the last one is at `radius`
    return Toy(Mixture.with_equal_weights(centres.tolist(), std), **settings)
