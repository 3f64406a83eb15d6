"""Kernel distance of features (KID)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ganlab.core.validation import Count, TwoOrMore
from ganlab.data.base import Split
from ganlab.functional.distances import mmd2
from ganlab.functional.kernels import Polynomial
from ganlab.metrics.base import ProtocolFields
from ganlab.metrics.feature_metric import ReservoirMetric
from ganlab.metrics.features import Extractor

ORDER = 2020  # torch-fidelity's seed for the choice of subsets
KERNEL = Polynomial(degree=3, offset=1.0)


class KernelDistance(ReservoirMetric):
    """KID: MMD^2 with the kernel (x . y / F + 1)^3 on features (Binkowski et al. 2018, section 4).

    The mean over `subsets` random choices of `subset_size` real and as many generated samples; `extras` has
    the standard deviation over the subsets. If every subset contains all generated samples, the deviation is
    that of the real ones alone. Zero is best, and the expectation for two samples of one distribution, so
    that values may be negative. Unlike the Frechet distance, the expectation does not depend on the number of
    samples. The subsets are torch-fidelity's.

    Args:
        estimator: `unbiased` (all pairs of a real and a generated sample, as published), `u_statistic`
        (without
            the pairs at the same index: the third estimator of the released code) or `biased` (never
            negative); see `ganlab.functional.distances.mmd2`.
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
        self.limit = subsets * subset_size  # all subsets together never use more
        self._std = 0.0

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        n, reason, remedy = self.subset_size, "a subset has as many samples of each kind", "lower it to {n}"
        self.require_samples(n, reason, remedy, ".subset_size", n, real=n_real, generated=n_fake)

    def values(self) -> tuple[float, ...]:
        random = np.random.RandomState(ORDER)
        distances = []
        for _ in range(self.subsets):
            fake, real = (
                rows[random.choice(len(rows), self.subset_size, replace=False)].double()
                for rows in (self.rows(None), self.rows(self.references[0]))
            )
            distances.append(float(mmd2(fake, real, KERNEL, self.estimator)))
        self._std = float(np.std(distances))
        return (float(np.mean(distances)),)

    def extras(self) -> dict[str, float]:
        all_fake = self.subset_size == self.counts[None]  # then every subset has the same generated samples
        return {"std_over_subsets_of_reals_alone" if all_fake else "std_over_subsets": self._std}

    def settings(self) -> ProtocolFields:
        return {"subsets": self.subsets, "subset_size": self.subset_size, "estimator": self.estimator}
