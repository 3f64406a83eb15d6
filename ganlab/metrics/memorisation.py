"""Memorisation: the share of samples that are closer to the training set than held-out images are."""

from __future__ import annotations

import torch
from torch import Tensor

from ganlab.metrics.base import ProtocolFields
from ganlab.metrics.feature_metric import ReservoirMetric
from ganlab.metrics.features import Extractor, to_levels
from ganlab.metrics.prdc import distance_rows


class Memorisation(ReservoirMetric):
    """The probability that a sample is closer to the training set than a test image is, in [0, 1].

    P(d(G(z)) < d(x)) + P(d(G(z)) = d(x)) / 2 over all pairs of a generated sample and a test image x, where d
    is the distance to the nearest training image, in an extractor's features and in pixels: the statistic of
    Mann and Whitney that Meehan, Chaudhuri & Dasgupta (2020, section 3) use to detect data-copying. 1/2 if
    samples are as close as test images are, 1 if they are copies of training images, 0 if they are far from
    all data.
    """

    kinds = ("memorisation", "memorisation_pixels")
    higher_is_better = False

    def __init__(self, extractor: str | Extractor):
        super().__init__(extractor, "train", "test")

    def observe(self, x: Tensor) -> tuple[Tensor, ...]:
        levels = to_levels(x).flatten(1).cpu()  # an eighth of the memory of float64
        return self.extractor.extract(x).features, levels

    def values(self) -> tuple[float, ...]:
        return tuple(self._closer(part) for part in range(len(self.kinds)))

    def settings(self) -> ProtocolFields:
        return {"n_held_out": self.counts["test"]}

    def _closer(self, part: int) -> float:
        train, test, fake = (self.rows(split, part).double() for split in ("train", "test", None))
        gaps = nearest_distances(test, train) - nearest_distances(fake, train)[:, None]  # [generated, test]
        return float((1 + gaps.sign()).mean() / 2)


def nearest_distances(x: Tensor, y: Tensor) -> Tensor:
    """The distance of each row of x [N, F] to the nearest row of y [M, F], [N]."""
    return torch.cat([distances.amin(1) for _, distances in distance_rows(x, y)])
