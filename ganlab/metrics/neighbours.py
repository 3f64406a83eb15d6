"""Metrics of nearest neighbours: precision, recall, density and coverage, and memorisation."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.validation import Count
from ganlab.metrics.base import GENERATED, Split, StoringMetric, require_enough
from ganlab.metrics.features import Extractor, to_levels

CHUNK = 1000  # rows of the distance matrix that are computed at a time
# Two rows count as copies if their distance is at most this fraction of their norm. The fraction is not 0,
# because networks round in float32.
TOLERANCE = 1e-5


class PRDC(StoringMetric):
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Each real sample has a ball around it, whose radius is the distance to its k-th nearest neighbour among
    the real samples. Each generated sample has a ball in the same way among the generated samples.

        precision: the fraction of generated samples that lie in the ball of at least one real sample
        recall:    the fraction of real samples that lie in the ball of at least one generated sample
        density:   the mean number of real balls that contain a generated sample, divided by k
        coverage:  the fraction of real samples whose ball contains at least one generated sample

    All lie in [0, 1], except for density, which may exceed 1. Balls are open, as in the released code of
    density and coverage. If the real and the generated samples, N of each, have the same distribution, the
    expected density is 1, and the expected coverage is 1 - prod_(i = 1..k) (N - i) / (2 N - i) (Naeem et al.
    2020, section 3).

    Copies of a sample would be its nearest neighbours, and its ball would be empty. So balls are computed
    from distinct samples. Copies of real samples are ignored, but copies of generated samples count in
    precision and density. If at most k generated samples are distinct, none has a ball, and recall is 0.

    Args:
        extractor: a network, or the name of a classifier.
        split: the split of the real images.
        k: the number of neighbours that give the radius of a ball.
    """

    name_prefixes = ("precision", "recall", "density", "coverage")
    higher_is_better = True

    def __init__(self, extractor: str | Extractor, split: Split, k: Count):
        super().__init__(extractor, split)
        self.k, self.protocol_fields = k, {"k": k}

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        reason = f"a sample needs {self.k} other samples of its kind"
        sizes = {"real": n_real, "generated": n_fake}
        require_enough(self.k + 1, sizes, reason, "lower it", key=".k", value=self.k)

    def values(self) -> tuple[float, ...]:
        return prdc(self.rows(self.references[0]).double(), self.rows(GENERATED).double(), self.k)


class Memorisation(StoringMetric):
    """The probability that a sample is closer to the training set than a test image is, in [0, 1].

    P(d(G(z)) < d(x)) + P(d(G(z)) = d(x)) / 2 over all pairs of a generated sample G(z) and a test image x,
    where d is the distance to the nearest training image. The first value uses distances of an extractor's
    features, the second one distances of pixels. This is the Mann-Whitney statistic with which Meehan,
    Chaudhuri & Dasgupta (2020, section 3) detect data-copying. It is 1/2 if samples are as close as test
    images are, 1 if they are copies of training images, and 0 if they are far from all data.
    """

    name_prefixes = ("memorisation", "memorisation_pixels")
    higher_is_better = False

    def __init__(self, extractor: str | Extractor):
        super().__init__(extractor, "train", "test")

    def represent(self, x: Tensor) -> tuple[Tensor, ...]:
        """The features, and the pixels as uint8, which need an eighth of the memory of float64."""
        return self.extractor.extract(x).features, to_levels(x).flatten(1).cpu()

    def values(self) -> tuple[float, ...]:
        self.protocol_fields = {"n_held_out": self.num_samples["test"]}  # images not trained on
        return self._probability(index=0), self._probability(index=1)

    def _probability(self, index: int) -> float:
        """The probability for the tensor with this index in the result of `represent`: features or pixels."""
        train, test, fake = (self.rows(split, index).double() for split in ("train", "test", GENERATED))
        # [generated, test]: positive if the generated sample is closer to the training set.
        gaps = nearest_distances(test, train) - nearest_distances(fake, train)[:, None]
        return float((1 + gaps.sign()).mean() / 2)  # the sign is 0 for equal distances, which count 1/2


def prdc(real: Tensor, fake: Tensor, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage of features real [N, F] and fake [M, F].

    Raises:
        ConfigError: at most k real samples are distinct.
    """
    real = real[first_occurrences(real)]
    reason = f"only {len(real)} real images are distinct, and each needs k neighbours"
    require(len(real) > k, reason, "lower it", ".k", k)
    real_radii, fake_radii = ball_radii(real, k), fake.new_zeros(len(fake))
    distinct = first_occurrences(fake)
    if distinct.sum() > k:
        fake_radii[distinct] = ball_radii(fake[distinct], k)  # copies keep radius 0, so their balls are empty
    num_precise, num_in_balls = 0, 0
    is_recalled, is_covered = torch.zeros(2, len(real), dtype=torch.bool)
    for rows, distances in distance_chunks(fake, real):  # [m, N]
        in_real_ball = distances < real_radii
        num_precise += int(in_real_ball.any(1).sum())
        num_in_balls += int(in_real_ball.sum())
        is_covered |= in_real_ball.any(0)
        is_recalled |= (distances < fake_radii[rows, None]).any(0)
    precision, density = num_precise / len(fake), num_in_balls / (k * len(fake))
    return precision, float(is_recalled.double().mean()), density, float(is_covered.double().mean())


def ball_radii(x: Tensor, k: int) -> Tensor:
    """The distance of each row of x [N, F] to its k-th nearest neighbour among the other rows, [N]."""
    parts = []
    for rows, distances in distance_chunks(x, x):
        # Row i of the chunk is row rows.start + i of x, so this diagonal has its distance to itself.
        distances.diagonal(rows.start).fill_(torch.inf)
        parts.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(parts)


def first_occurrences(x: Tensor) -> Tensor:
    """A mask [N] of the rows of x [N, F] that are not copies of earlier rows.

    Copies have almost equal sums, so they are adjacent if rows are sorted by their sums.
    """
    order = x.sum(1).argsort(stable=True)
    x_sorted = x[order]
    is_first = torch.ones(len(x), dtype=torch.bool)
    # Each row but the first is compared with the row before it.
    is_first[order[1:]] = (x_sorted.diff(dim=0).norm(dim=1) > TOLERANCE * x_sorted[1:].norm(dim=1)).cpu()
    return is_first


def distance_chunks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yields at most `CHUNK` rows of x [N, F] as a slice, and their Euclidean distances to y [M, F], [n, M].

    Distances of copies are set to 0, because the rounding of cdist leaves them above 0.
    """
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        distances = torch.cdist(x[rows], y)
        yield rows, distances.masked_fill_(distances <= TOLERANCE * x[rows].norm(dim=1, keepdim=True), 0)


def nearest_distances(x: Tensor, y: Tensor) -> Tensor:
    """The distances [N] of the rows of x [N, F] to their nearest rows of y [M, F]."""
    return torch.cat([distances.amin(1) for _, distances in distance_chunks(x, y)])
