"""Metrics of synthetic data: coverage of their known modes, and Wasserstein-1 distance on the line.

The coverage of the modes of toy data is defined as for PacGAN (Lin et al. 2018). A sample is of high quality
if it lies closer than 3 standard deviations to its nearest mode, where the distance to each mode is measured
in the standard deviation of that mode. A histogram counts the samples of high quality at their nearest modes,
as in the released code. Other samples are not counted. The published tables use 2,500 samples.
"""

import math
from abc import abstractmethod
from importlib.metadata import version

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, require
from ganlab.data.densities import Mixture
from ganlab.metrics.base import GENERATED, Data, Generated, ProtocolFields, SampleMetric, Split, StoringMetric

MAX_DEVIATIONS = 3.0  # the largest distance of samples of high quality, in standard deviations
NUM_DIGITS = 10  # the number of different digits, 0 to 9


def modes_of_high_quality_samples(x: Tensor, mixture: Mixture) -> Tensor:
    """The nearest mode of each sample of high quality, int64 [n], for samples x [N, D] of any quality."""
    deviations, modes = mixture.mahalanobis(x).min(1)  # [N], [N]
    return modes[deviations < MAX_DEVIATIONS]


class ModeMetric(SampleMetric):
    """Base class of metrics that count the samples of high quality at each mode.

    Real samples are not used, because the modes of the data are known.
    """

    input_kind = "points"

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        if data.distribution is None:
            raise ConfigError("needs data with known modes, such as data=ring", "choose metric=none")
        self._mixture = data.distribution
        self.reset()

    @torch.no_grad()
    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        if split == GENERATED:
            modes = modes_of_high_quality_samples(x, self._mixture).cpu()
            self._histogram += modes.bincount(minlength=len(self._histogram))
            self._n += len(x)

    def compute(self) -> dict[str, float]:
        require(self._n, f"{self.names[0]} is undefined without samples", "set evaluation.n to 1 or more")
        return {self.names[0]: self.value(self._histogram.double(), self._n)}

    @abstractmethod
    def value(self, histogram: Tensor, n: int) -> float:
        """The value for n samples of any quality; `histogram` [M] float64 counts those of high quality."""

    def reset(self) -> None:
        self._n = 0  # the number of generated samples
        self._histogram = torch.zeros(len(self._mixture.stds), dtype=torch.long)

    def protocol(self) -> ProtocolFields:
        return {
            "num_modes": len(self._histogram),
            "high_quality_within_std": MAX_DEVIATIONS,
            "n_real": 0,
            "n_fake": self._n,
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
    """The fraction of samples of high quality. Real data in the plane have 1 - exp(-9/2) = 0.989."""

    names = ("high_quality",)
    higher_is_better = True

    def value(self, histogram: Tensor, n: int) -> float:
        return float(histogram.sum() / n)


class ReverseKL(ModeMetric):
    """The reverse KL divergence of modes, sum_k q_k log(q_k / p_k), in nats; 0 is best.

    q_k is the fraction of the samples of high quality at mode k, and p_k the probability of mode k in the
    data: 1/M each on ring and grid, where the value is log M minus the entropy of q. The value depends only
    on the distribution of samples over modes. Without any sample of high quality it is the largest possible
    value, -log min p.
    """

    names = ("reverse_kl",)
    higher_is_better = False

    def value(self, histogram: Tensor, n: int) -> float:
        p = self._mixture.weights
        if histogram.sum() == 0:
            return float(-p.min().log())
        q = histogram / histogram.sum()
        return float((q.xlogy(q) - q.xlogy(p)).sum())


class StackedModes(StoringMetric):
    """The number of modes that samples cover, and their reverse KL in nats (Srivastava et al. 2017).

    The classifier recognises the digit in each channel. The digits, read as one number, are the mode. The
    reverse KL is sum_k q_k log(K q_k), where q_k is the fraction of samples in mode k of K = 10^channels
    modes. It is 0 if all modes are equally frequent, and log K if all samples have one mode. Real images are
    not used, because their modes are equally likely.
    """

    name_prefixes = ("modes", "reverse_kl")
    _num_modes = 0  # K in the formula, which is known after `represent`

    def higher_is_better_by_name(self) -> dict[str, bool]:
        name_of_modes, name_of_reverse_kl = self.names
        return {name_of_modes: True, name_of_reverse_kl: False}

    def represent(self, x: Tensor) -> tuple[Tensor, ...]:
        shape, remedy = list(x.shape[1:]), "choose data=stacked_mnist, or another metric"
        reason = f"counts stacks of digits, and these samples have the shape {shape}"
        require(x.ndim == 4 and shape[0] > 1, reason, remedy)
        logits = [self.extractor.extract(channel).logits for channel in x.split(1, dim=1)]
        name, num_classes = self.extractor.name, logits[0].shape[1]
        reason = f"has {num_classes} classes, but the metric needs {NUM_DIGITS} digits"
        require(num_classes == NUM_DIGITS, reason, "choose extractor=mnist", "extractor", name)
        self._num_modes = NUM_DIGITS ** len(logits)
        modes = torch.zeros(len(x), dtype=torch.long)
        for logits_of_channel in logits:
            modes = modes * NUM_DIGITS + logits_of_channel.argmax(1)  # appends the digit to the number
        return (modes,)

    def values(self) -> tuple[float, ...]:
        counts = self.rows(GENERATED).bincount().double()
        q = counts[counts > 0] / counts.sum()
        reverse_kl = float((q * q.log()).sum()) + math.log(self._num_modes)  # because q sums to 1
        return float(len(q)), reverse_kl


class Wasserstein(SampleMetric):
    """Wasserstein-1 distance of generated and real samples on the line, in the data's units; 0 is best.

    The distance is the area between the two empirical distribution functions. For N real and N generated
    samples of the same distribution, the distance is positive and falls as 1 / sqrt(N), so values should be
    compared with their floors.
    """

    input_kind = "points"
    names = ("wasserstein",)
    higher_is_better = False

    def __init__(self) -> None:
        self._real, self._fake = list[Tensor](), list[Tensor]()

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        reason = f"measures samples of shape [1], not {list(data.shape)}"
        require(data.shape == (1,), reason, "choose metric=none")

    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        (self._fake if split == GENERATED else self._real).append(x.detach().flatten().double().cpu())

    def compute(self) -> dict[str, float]:
        from scipy.stats import wasserstein_distance  # imported here because it takes half a second

        require(self._real and self._fake, "needs real and generated samples")
        return {"wasserstein": float(wasserstein_distance(torch.cat(self._real), torch.cat(self._fake)))}

    def reset(self) -> None:  # keeps the real samples, which are passed only once in a run
        self._fake = []

    def protocol(self) -> ProtocolFields:
        return {
            "n_real": sum(map(len, self._real)),
            "n_fake": sum(map(len, self._fake)),
            "dtype": "float64",
            "scipy": version("scipy"),
        }
