"""Metrics of nearest neighbours: precision, recall, density and coverage, and memorisation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.validation import Count
from ganlab.data.base import Split
from ganlab.metrics.base import ReservoirMetric
from ganlab.metrics.features import Extractor, to_levels

CHUNK = 1000  # rows of the distance matrix that are computed at a time
# Rows are copies up to this distance, relative to their norm, because networks round in float32.
TOLERANCE = 1e-5


class PRDC(ReservoirMetric):
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Each sample has a ball that reaches to its k-th nearest neighbour among the samples of its kind, real or
    generated.

        precision: the share of generated samples in the ball of some real one
        recall:    the share of real samples in the ball of some generated one
        density:   the mean number of real samples' balls that contain a generated sample, divided by k
        coverage:  the share of real samples whose ball contains a generated one

    All lie in [0, 1], except for density, which may exceed 1. Balls are open, as in the released code of
    density and coverage. For two samples of one distribution, the expected density is 1, and the expected
    coverage is 1 - prod_(i = 1..k) (N - i) / (2 N - i) for N samples of each kind.

    Real samples that are copies count once, and so do neighbours that are copies: otherwise k + 1 copies
    would have empty balls. In precision and density, each copy of a generated sample counts. If at most k
    generated samples are distinct, none has a ball, and recall is 0.
    """

    kinds = ("precision", "recall", "density", "coverage")
    higher_is_better = True

    def __init__(self, extractor: str | Extractor, split: Split, k: Count):
        super().__init__(extractor, split)
        self.k, self.settings = k, {"k": k}

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        reason = f"a sample needs {self.k} other samples of its kind"
        self.require_samples(self.k + 1, reason, "lower it", ".k", self.k, real=n_real, generated=n_fake)

    def values(self) -> tuple[float, ...]:
        return prdc(self.rows(self.references[0]).double(), self.rows(None).double(), self.k)


class Memorisation(ReservoirMetric):
    """The probability that a sample is closer to the training set than a test image is, in [0, 1].

    P(d(G(z)) < d(x)) + P(d(G(z)) = d(x)) / 2 over all pairs of a generated sample and a test image x, where d
    is the distance to the nearest training image, in an extractor's features and in pixels. This is the
    Mann-Whitney statistic with which Meehan, Chaudhuri & Dasgupta (2020, section 3) detect data-copying. It
    is 1/2 if samples are as close as test images are, 1 if they are copies of training images, and 0 if they
    are far from all data.
    """

    kinds = ("memorisation", "memorisation_pixels")
    higher_is_better = False

    def __init__(self, extractor: str | Extractor):
        super().__init__(extractor, "train", "test")

    def observe(self, x: Tensor) -> tuple[Tensor, ...]:
        levels = to_levels(x).flatten(1).cpu()  # an eighth of the memory of float64
        return self.extractor.extract(x).features, levels

    def values(self) -> tuple[float, ...]:
        self.settings = {"n_held_out": self.num_samples["test"]}
        return tuple(self._probability(part) for part in range(len(self.kinds)))

    def _probability(self, part: int) -> float:
        """The probability by features (part 0) or by pixels (part 1), the tensors of `observe`."""
        train, test, fake = (self.rows(split, part).double() for split in ("train", "test", None))
        gaps = nearest_distances(test, train) - nearest_distances(fake, train)[:, None]  # [generated, test]
        return float((1 + gaps.sign()).mean() / 2)


def prdc(real: Tensor, fake: Tensor, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage of features real [N, F] and fake [M, F].

    Raises:
        ConfigError: at most k real samples are distinct.
    """
    real, distinct = real[first_occurrences(real)], first_occurrences(fake)
    reason = f"only {len(real)} real images are distinct, and each needs k neighbours"
    require(len(real) > k, ".k", k, reason, "lower it")
    radii_real, radii_fake = radii(real, k), fake.new_zeros(len(fake))
    if distinct.sum() > k:
        radii_fake[distinct] = radii(fake[distinct], k)
    precise, density, covered = 0, 0, torch.zeros(len(real), dtype=torch.bool)
    recalled = torch.zeros(len(real), dtype=torch.bool)
    for rows, distances in distance_rows(fake, real):  # [m, N]
        within = distances < radii_real
        precise += int(within.any(1).sum())
        density += int(within.sum())
        covered |= within.any(0)
        recalled |= (distances < radii_fake[rows, None]).any(0)
    m = len(fake)
    return precise / m, float(recalled.double().mean()), density / (k * m), float(covered.double().mean())


def radii(x: Tensor, k: int) -> Tensor:
    """The distance of each row of x [N, F] to its k-th nearest neighbour among the other rows, [N]."""
    parts = []
    for rows, distances in distance_rows(x, x):
        distances.diagonal(rows.start).fill_(torch.inf)  # the distances of rows to themselves
        parts.append(distances.kthvalue(k, 1).values)
    return torch.cat(parts)


def first_occurrences(x: Tensor) -> Tensor:
    """A mask [N] of the rows of x [N, F] that are not copies of earlier rows.

    Copies have equal sums, so they are adjacent if rows are sorted by their sums.
    """
    order = x.sum(1).argsort(stable=True)
    first = torch.ones(len(x), dtype=torch.bool)
    first[order[1:]] = (x[order].diff(dim=0).norm(dim=1) > TOLERANCE * x[order[1:]].norm(dim=1)).cpu()
    return first


def distance_rows(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yields the Euclidean distances of x [N, F] to y [M, F] by slices of n rows of x: the slice, and [n, M].

    Distances of copies are set to 0, because the rounding of cdist leaves them above 0.
    """
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        distances = torch.cdist(x[rows], y)
        yield rows, distances.masked_fill_(distances <= TOLERANCE * x[rows].norm(dim=1, keepdim=True), 0)


def nearest_distances(x: Tensor, y: Tensor) -> Tensor:
    """The distance of each row of x [N, F] to the nearest row of y [M, F], [N]."""
    return torch.cat([distances.amin(1) for _, distances in distance_rows(x, y)])
