"""Memorisation: are samples closer to the training set than held-out images are?"""

from __future__ import annotations

import torch
from torch import Tensor

from ganlab.data.base import Split
from ganlab.metrics.feature_cache import Features
from ganlab.metrics.feature_metric import FeatureMetric, FeatureReservoir
from ganlab.metrics.features import Extractor, eight_bit
from ganlab.metrics.prdc import chunks

HELD_OUT: Split = "test"


class Memorisation(FeatureMetric):
    """How often a sample is nearer to its nearest training image than a new one is to its own, in [0, 1].

    P(d(G(z)) < d(x)) + P(d(G(z)) = d(x)) / 2 over all pairs of a fake and a test image x, d being the
    distance to the nearest training image, in an extractor's features and in pixels: the statistic of Mann
    and Whitney that Meehan, Chaudhuri & Dasgupta (2020, section 3) test for data-copying. 1/2 where samples
    are as near as new images are, 1 where they are copies, 0 where they are far from all data.
    """

    kinds = ("memorisation", "memorisation_pixels")
    higher_is_better = False

    def __init__(self, extractor: str | Extractor):
        super().__init__(extractor, "train")
        self.references = ("train", HELD_OUT)
        self.baseline_split = HELD_OUT
        # FeatureReservoir and pixels of each kind of images; of fakes under None.
        self._rows: dict[Split | None, tuple[FeatureReservoir, FeatureReservoir]] = {
            kind: (FeatureReservoir(), FeatureReservoir()) for kind in ("train", HELD_OUT, None)
        }

    def update_reference(self, x: Tensor, split: Split) -> None:
        self._add(split, x)
        self.n_real += len(x) if split == "train" else 0

    def update(self, x: Tensor, real: bool) -> None:
        if real:
            self.update_reference(x, "train")
        else:
            self._add(None, x)
            self.n_fake += len(x)

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        self.needs(1, "nearest neighbours", "leave it out", reals=n_real, fakes=n_fake)

    def take(self, seen: Features, real: bool) -> None:
        """Everything is taken with its pixels."""

    def numbers(self) -> tuple[float, ...]:
        return tuple(self._nearer(space) for space in (0, 1))

    def protocol(self) -> dict[str, str | int | float]:
        return {**super().protocol(), "n_held_out": len(self._rows[HELD_OUT][0].rows)}

    def reset(self) -> None:
        super().reset()
        self._rows[None] = FeatureReservoir(), FeatureReservoir()

    def _add(self, kind: Split | None, x: Tensor) -> None:
        features, pixels = self._rows[kind]
        features.add(self.extractor.extract(x).features)
        pixels.add((eight_bit(x) * 255).round().byte().flatten(1).cpu())  # in levels: an eighth of the memory

    def _nearer(self, space: int) -> float:
        train, held_out, fake = (self._rows[kind][space].rows.double() for kind in ("train", HELD_OUT, None))
        mine, theirs = nearest(fake, train), nearest(held_out, train)
        gap = theirs - mine[:, None]
        return float((1 + gap.sign()).mean() / 2)


def nearest(x: Tensor, y: Tensor) -> Tensor:
    """The distance of each of x [N, F] to the nearest of y [M, F], [N]."""
    return torch.cat([distances.amin(1) for _, distances in chunks(x, y)])
