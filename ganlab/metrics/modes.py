"""Coverage of the known modes of toy data, as PacGAN defines it (Lin et al. 2018).

A sample is of high quality if it lies closer than 3 standard deviations to its nearest mode, where the
distance to each mode is measured in the standard deviation of that mode. The histogram counts the samples of
high quality at their nearest modes, as in the released code; other samples are not counted. The published
tables are of 2,500 samples.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, ConfigError, require
from ganlab.data.base import Data, Split
from ganlab.data.densities import Mixture
from ganlab.metrics.base import ProtocolFields, SampleMetric

MAX_DEVIATIONS = 3.0


def high_quality_modes(x: Tensor, mixture: Mixture) -> Tensor:
    """The nearest mode of each sample of high quality among x [N, D]: int64 [at most N]."""
    distance, nearest = mixture.mahalanobis(x).min(1)  # [N], [N]
    return nearest[distance < MAX_DEVIATIONS]


class ModeMetric(SampleMetric):
    """Base class of metrics of the histogram of high-quality samples over modes; real samples are unused."""

    input_kind = "points"

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        if data.distribution is None:
            raise ConfigError("needs data with known modes, such as data=ring", "choose metric=none")
        self._mixture = data.distribution
        self.reset()

    @torch.no_grad()
    def update(self, x: Tensor, split: Split | None = None) -> None:
        if split is None:
            modes = high_quality_modes(x, self._mixture).cpu()
            self._histogram += modes.bincount(minlength=len(self._histogram))
            self._n_fake += len(x)

    def compute(self) -> dict[str, float]:
        require(self._n_fake, "", UNSET, f"{self.names[0]} of no samples", "set evaluation.n to 1 or more")
        return {self.names[0]: self.value(self._histogram.double(), self._n_fake)}

    @abstractmethod
    def value(self, histogram: Tensor, n: int) -> float:
        """The value for `n` samples, of which the histogram, float64 [M], counts those of high quality."""

    def reset(self) -> None:
        self._n_fake = 0
        self._histogram = torch.zeros(len(self._mixture.stds)).long()

    def protocol(self) -> ProtocolFields:
        return {
            "num_modes": len(self._histogram),
            "high_quality_within_std": MAX_DEVIATIONS,
            "n_real": 0,
            "n_fake": self._n_fake,
            "dtype": "float64",
            "torch": str(torch.__version__),
        }


class ModesCovered(ModeMetric):
    """The number of modes with at least one sample of high quality."""

    names = ("modes",)
    higher_is_better = True

    def value(self, histogram: Tensor, n: int) -> float:
        return float((histogram > 0).sum())


class HighQuality(ModeMetric):
    """The share of samples of high quality, in [0, 1]; for data in the plane it is 1 - exp(-9/2) = 0.989."""

    names = ("high_quality",)
    higher_is_better = True

    def value(self, histogram: Tensor, n: int) -> float:
        return float(histogram.sum() / n)


class ReverseKL(ModeMetric):
    """sum over modes k of q_k log(q_k / p_k), in nats; 0 is best.

    q_k are the shares of the modes among the samples of high quality, and p_k their probabilities in the
    data: 1/M each on ring and grid, where the value is log M minus the entropy of q. It depends only on how
    samples are distributed over modes. Without any sample of high quality it is its largest possible value,
    -log min p.
    """

    names = ("reverse_kl",)
    higher_is_better = False

    def value(self, histogram: Tensor, n: int) -> float:
        p = self._mixture.weights
        if histogram.sum() == 0:
            return float(-p.min().log())
        q = histogram / histogram.sum()
        return float((q.xlogy(q) - q.xlogy(p)).sum())
