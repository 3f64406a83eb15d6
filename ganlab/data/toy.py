"""Toy data in the plane, with exact answers: mixtures of Gaussians on a circle, a grid and a spiral."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ganlab.data.base import Data
from ganlab.data.densities import Mixture
from ganlab.data.facts import agree, at_least, not_negative, positive
from ganlab.data.sources import Memory
from ganlab.randomness import generator


class Toy(Data):
    """Both splits, `size` samples each, of a known distribution; where it has modes they are the classes.

    Raises:
        Refused: a declared fact contradicts the distribution.
    """

    distribution: Mixture

    def __init__(
        self,
        distribution: Mixture,
        size: int,
        data_seed: int,
        shape: Sequence[int],
        num_classes: int | None,
        range: None,
        batch_size: int,
    ):
        at_least(1, size=size)
        at_least(0, data_seed=data_seed)
        agree("shape", shape, tuple(distribution.centres.shape[1:]))
        agree("num_classes", num_classes, len(distribution.centres))
        agree("range", range, None)
        self.distribution = distribution
        sources = {}
        for split in ("train", "test"):
            x, modes = distribution.labelled(size, generator(data_seed, split))
            sources[split] = Memory(x, modes, flip=False)
        super().__init__(shape, num_classes, None, batch_size, sources)


class Ring(Toy):
    """Gaussians of deviation `std` at equal angles on a circle, the first on the first axis.

    Eight of radius 1 are what PacGAN (Lin et al. 2018) and the released code of Metz et al. (2017) draw.
    """

    def __init__(
        self,
        modes: int,
        radius: float,
        std: float,
        size: int,
        data_seed: int,
        shape: Sequence[int],
        num_classes: int,
        range: None,
        batch_size: int,
    ):
        at_least(1, modes=modes)
        not_negative(radius=radius)
        positive(std=std)
        distribution = Mixture.equal(circle(modes, radius), std)
        super().__init__(distribution, size, data_seed, shape, num_classes, range, batch_size)


class Grid(Toy):
    """Gaussians of deviation `std` at all pairs of `coordinates` (Lin et al. 2018)."""

    def __init__(
        self,
        coordinates: Sequence[float],
        std: float,
        size: int,
        data_seed: int,
        shape: Sequence[int],
        num_classes: int,
        range: None,
        batch_size: int,
    ):
        at_least(1, coordinates=len(coordinates))
        positive(std=std)
        distribution = Mixture.equal(list(product(coordinates, repeat=2)), std)
        super().__init__(distribution, size, data_seed, shape, num_classes, range, batch_size)


class Spiral(Toy):
    """Gaussians of deviation `std` at equal distances along an Archimedean spiral of some `turns`.

    Its distance from the origin grows from 0 to `radius`. The Gaussians, which touch, are its modes: how many
    are covered says how much of the curve is.
    """

    def __init__(
        self,
        turns: float,
        radius: float,
        components: int,
        std: float,
        size: int,
        data_seed: int,
        shape: Sequence[int],
        num_classes: int,
        range: None,
        batch_size: int,
    ):
        at_least(2, components=components)
        positive(turns=turns, radius=radius, std=std)
        distribution = Mixture.equal(spiral(turns, radius, components), std)
        super().__init__(distribution, size, data_seed, shape, num_classes, range, batch_size)


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
