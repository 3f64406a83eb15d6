"""How well samples cover the known modes of toy data, by the definitions of PacGAN (Lin et al. 2018).

A sample is of high quality if it lies less than 3 deviations from its nearest mode, both measured in the
deviations of that mode. The histogram counts the samples of high quality at their nearest modes, as the
released code does; the others count nowhere. The published tables are of 2,500 samples.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.data.densities import Mixture
from ganlab.metrics.base import SampleMetric

NEAR = 3.0  # deviations


def high_quality(x: Tensor, known: Mixture) -> Tensor:
    """The nearest modes of those of the samples x [N, D] that are of high quality, int64 [at most N]."""
    distance, nearest = known.mahalanobis(x).min(1)  # [N], [N]
    return nearest[distance < NEAR]


class ModeMetric(SampleMetric):
    """One number of the histogram of high quality over the modes. The reals are not looked at."""

    input_kind = "points"
    name: str

    def __init__(self) -> None:
        self.names = (self.name,)
        self._mixture: Mixture | None = None
        self.reset()

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        if data.distribution is None:
            raise ConfigError(f"{self.name} needs data with known modes, such as ring: choose metric=none")
        self._mixture = data.distribution
        self.reset()

    @torch.no_grad()
    def update(self, x: Tensor, real: bool) -> None:
        if not real:
            good = high_quality(x, self._known).cpu()
            self._histogram += torch.bincount(good, minlength=len(self._histogram))
            self._n_fake += len(x)

    def compute(self) -> dict[str, float]:
        if self._n_fake == 0:
            raise ConfigError(f"{self.name} of no samples: set evaluation.n to 1 or more")
        return {self.name: self.number(self._histogram.double(), self._n_fake)}

    @abstractmethod
    def number(self, histogram: Tensor, n: int) -> float:
        """From how many samples of high quality each mode has, float64 [M], among n samples."""

    def reset(self) -> None:
        self._n_fake = 0
        self._histogram = torch.zeros(0 if self._mixture is None else len(self._mixture.stds)).long()

    def protocol(self) -> dict[str, str | int | float]:
        return {
            "num_modes": len(self._histogram),
            "high_quality_within_std": NEAR,
            "n_real": 0,
            "n_fake": self._n_fake,
            "dtype": "float64",
            "torch": str(torch.__version__),
        }

    @property
    def _known(self) -> Mixture:
        assert self._mixture is not None, "check comes first: it tells of the data"
        return self._mixture


class ModesCovered(ModeMetric):
    """The number of modes with a sample of high quality or more."""

    name = "modes"
    higher_is_better = True

    def number(self, histogram: Tensor, n: int) -> float:
        return float((histogram > 0).sum())


class HighQuality(ModeMetric):
    """The share of samples of high quality, in [0, 1]; the true one in the plane is 1 - exp(-9/2) = 0.989."""

    name = "high_quality"
    higher_is_better = True

    def number(self, histogram: Tensor, n: int) -> float:
        return float(histogram.sum() / n)


class ReverseKL(ModeMetric):
    """sum over modes k of q_k log(q_k / p_k), in nats; 0 is best.

    q_k are the shares of the modes in the samples of high quality, p_k the probabilities of the modes in
    the data: 1/M each on ring and grid, where this is log M less the entropy of q. It sees only how samples
    spread over modes. Where no sample is of high quality it is the largest value it can have, -log min p.
    """

    name = "reverse_kl"
    higher_is_better = False

    def number(self, histogram: Tensor, n: int) -> float:
        p = self._known.weights
        if histogram.sum() == 0:
            return float(-p.min().log())
        q = histogram / histogram.sum()
        return float((torch.xlogy(q, q) - torch.xlogy(q, p)).sum())
