"""How far fakes lie on the manifold of reals, and cover it, by nearest neighbours among features."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count
from ganlab.data.base import Split
from ganlab.metrics.feature_cache import Features
from ganlab.metrics.feature_metric import FeatureMetric, FeatureReservoir
from ganlab.metrics.features import Extractor

CHUNK = 1000  # rows at a time of the matrix of distances
ALIKE = 1e-5  # lengths of the features, within which an image is a copy: networks round in float32


class PRDC(FeatureMetric):
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020); in [0, 1].

    A ball around each sample reaches to its k-th nearest neighbour of its own kind. precision: the share
    of fakes within the ball of some real; recall: of reals within that of some fake; density: the mean
    number of reals' balls that a fake lies in, over k, so it may exceed 1; coverage: the share of reals
    whose ball holds a fake. Balls are open, as in the released code of density and coverage. Where both
    are of one distribution, density is 1 in expectation, and coverage 1 - prod_i (N - i) / (2 N - i), i to k.

    Copies count once, as reals and as neighbours: the balls of k copies would hold nothing, not even them.
    A fake that comes often weighs as often in precision and density. Of k different fakes or fewer none
    has a ball, and recall is 0.
    """

    kinds = ("precision", "recall", "density", "coverage")
    higher_is_better = True

    def __init__(self, extractor: str | Extractor, split: Split, k: Count):
        super().__init__(extractor, split)
        self.k = k
        self._real, self._fake = FeatureReservoir(), FeatureReservoir()

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        why, remedy = f"{self.k} neighbours", "lower metric.prdc.k"
        self.needs(self.k + 1, why, remedy, reals=n_real, fakes=n_fake)

    def take(self, seen: Features, real: bool) -> None:
        (self._real if real else self._fake).add(seen.features)

    def numbers(self) -> tuple[float, ...]:
        return prdc(self._real.rows.double(), self._fake.rows.double(), self.k)

    def reset(self) -> None:
        super().reset()
        self._fake = FeatureReservoir()

    def protocol(self) -> dict[str, str | int | float]:
        return {**super().protocol(), "k": self.k}


def prdc(real: Tensor, fake: Tensor, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage of features real [N, F] and fake [M, F].

    Raises:
        ConfigError: k different reals or fewer.
    """
    real, own = real[distinct(real)], distinct(fake)
    if len(real) <= k:
        raise ConfigError(f"metric.prdc.k={k} neighbours of {len(real)} real images that differ: lower k")
    around_real, around_fake = radii(real, k), fake.new_zeros(len(fake))
    if own.sum() > k:
        around_fake[own] = radii(fake[own], k)
    precise, density, covered = 0, 0, torch.zeros(len(real), dtype=torch.bool)
    recalled = torch.zeros(len(real), dtype=torch.bool)
    for rows, distances in chunks(fake, real):  # [m, N]
        within = distances < around_real
        precise += int(within.any(1).sum())
        density += int(within.sum())
        covered |= within.any(0)
        recalled |= (distances < around_fake[rows, None]).any(0)
    m = len(fake)
    return precise / m, float(recalled.double().mean()), density / (k * m), float(covered.double().mean())


def radii(x: Tensor, k: int) -> Tensor:
    """The distance of each of x [N, F] to its k-th nearest neighbour among the others, [N]."""
    found = []
    for rows, distances in chunks(x, x):
        own = torch.arange(len(x))[rows]
        distances[torch.arange(len(own)), own] = torch.inf
        found.append(distances.kthvalue(k, 1).values)
    return torch.cat(found)


def distinct(x: Tensor) -> Tensor:
    """Which of x [N, F] are copies of none before, bool [N]: such lie side by side by any one number."""
    order = x.sum(1).argsort(stable=True)
    new = torch.ones(len(x), dtype=torch.bool)
    new[order[1:]] = (x[order].diff(dim=0).norm(dim=1) > ALIKE * x[order[1:]].norm(dim=1)).cpu()
    return new


def chunks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The distances of some rows of x [N, F] to all of y [M, F], and which rows these are.

    That of a copy is 0: a matrix product leaves what rounding makes of a difference of squares.
    """
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        distances = torch.cdist(x[rows], y)
        yield rows, distances.masked_fill_(distances <= ALIKE * x[rows].norm(dim=1, keepdim=True), 0)
