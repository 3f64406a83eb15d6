"""How near fakes come to reals by a kernel on an extractor's features."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from ganlab.core.validation import Count, TwoOrMore
from ganlab.data.base import Split
from ganlab.functional.distances import mmd2
from ganlab.functional.kernels import Polynomial
from ganlab.metrics.feature_cache import Features
from ganlab.metrics.feature_metric import FeatureMetric, FeatureReservoir
from ganlab.metrics.features import Extractor

ORDER = 2020  # seed of torch-fidelity's choice of subsets
KERNEL = Polynomial(degree=3, offset=1.0)


class KernelDistance(FeatureMetric):
    """KID: MMD^2 with (x . y / F + 1)^3 on features (Binkowski et al. 2018, section 4).

    The mean over `subsets` random choices of `subset_size` reals and as many fakes, and beside it the
    standard deviation over them; over the reals alone where every subset has all fakes. Zero is best, and its
    expectation where both are of one distribution, so it may come out negative; unlike the Frechet distance
    it does not depend on how many samples there are. The subsets are torch-fidelity's.

    estimator: `unbiased` (all pairs of a real and a fake, as published), `u_statistic` (without those of one
    place: the released code's third) or `biased` (never negative), as in
    `ganlab.functional.distances.mmd2`.
    """

    kinds = ("kid",)
    higher_is_better = False

    def __init__(
        self,
        extractor: str | Extractor,
        split: Split,
        subsets: Count,
        subset_size: TwoOrMore,
        estimator: Literal["unbiased", "u_statistic", "biased"] = "unbiased",
    ):
        super().__init__(extractor, split)
        self.subsets, self.subset_size, self.estimator = subsets, subset_size, estimator
        self._real, self._fake = self._none(), self._none()
        self._spread = 0.0

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        least, why = self.subset_size, f"subsets of {self.subset_size}"
        self.needs(least, why, "set metric.kid.subset_size={n} or lower", reals=n_real, fakes=n_fake)

    def take(self, seen: Features, real: bool) -> None:
        (self._real if real else self._fake).add(seen.features)

    def numbers(self) -> tuple[float, ...]:
        chance = np.random.RandomState(ORDER)
        values = []
        for _ in range(self.subsets):
            fake, real = (self._some(kind.rows, chance) for kind in (self._fake, self._real))
            values.append(float(mmd2(fake, real, KERNEL, self.estimator)))
        self._spread = float(np.std(values))
        return (float(np.mean(values)),)

    def extras(self) -> dict[str, float]:
        whole = self.subset_size == self.n_fake  # then the fakes are the same in every subset
        return {"std_over_subsets_of_reals_alone" if whole else "std_over_subsets": self._spread}

    def reset(self) -> None:
        super().reset()
        self._fake = self._none()

    def protocol(self) -> dict[str, str | int | float]:
        how = {"subsets": self.subsets, "subset_size": self.subset_size, "estimator": self.estimator}
        return {**super().protocol(), **how}

    def _some(self, rows: Tensor, chance: np.random.RandomState) -> Tensor:
        return rows[chance.choice(len(rows), self.subset_size, replace=False)].double()

    def _none(self) -> FeatureReservoir:
        return FeatureReservoir(limit=self.subsets * self.subset_size)  # more are not looked at
