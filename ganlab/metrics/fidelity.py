"""Metrics of fidelity on features: Frechet distance (FID), kernel distance (KID), Inception Score."""

from __future__ import annotations

from importlib.metadata import version
from typing import Literal

import numpy as np
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count, TwoOrMore
from ganlab.data.base import Split
from ganlab.functional.distances import mmd2
from ganlab.functional.kernels import Polynomial
from ganlab.metrics.base import FeatureMetric, ReservoirMetric
from ganlab.metrics.features import Extractor

# The samples in a part of the Inception Score that suffice for any number of classes. ImageNet scores half of
# it.
ENOUGH = 500
SEED = 2020  # torch-fidelity's seed for the subsets of KID, and for the order of the samples of IS
KERNEL = Polynomial(degree=3, offset=1.0)  # the kernel of KID


class FrechetDistance(FeatureMetric):
    """FID: the Frechet distance between Gaussians fitted to real and generated features (Heusel et al. 2017).

        |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))

    Zero is best. The expectation over samples is larger than the true distance, by more the fewer samples
    there are (Chong and Forsyth 2020), so only values of equal n_real and n_fake are comparable.
    """

    kinds = ("fid",)
    higher_is_better = False

    def __init__(self, extractor: str | Extractor, split: Split):
        # Imported here because it takes as long as importing torch, and most commands do not need it.
        from torchmetrics.image.fid import FrechetInceptionDistance

        super().__init__(extractor, split)
        self.settings = {"torchmetrics": version("torchmetrics")}
        identity = nn.Identity()  # torchmetrics is given features, not images
        identity.num_features = self.extractor.network.num_features  # type: ignore[assignment]
        # With sync_on_compute torchmetrics would wait for the other ranks, which may not be evaluating.
        self._distance = FrechetInceptionDistance(identity, reset_real_features=False, sync_on_compute=False)

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        """Refuses samples no more than features, because their covariance is singular in any case."""
        n = self.extractor.network.num_features
        reason = f"the covariance of {n} features needs {n + 1} samples"
        remedy = "choose metric=kid with metric.kid.subset_size={n}, or an extractor of fewer features"
        self.require_samples(n + 1, reason, remedy, real=n_real, generated=n_fake)

    def add(self, observed: tuple[Tensor, ...], split: Split | None) -> None:
        self._distance.update(observed[0], real=split is not None)

    def forget(self) -> None:
        self._distance.reset()

    def values(self) -> tuple[float, ...]:
        return (max(float(self._distance.compute()), 0.0),)  # rounding may leave a negative value


class KernelDistance(ReservoirMetric):
    """KID: MMD^2 with the kernel (x . y / F + 1)^3 on features (Binkowski et al. 2018, section 4).

    KID is the mean over `subsets` random subsets of `subset_size` real and as many generated samples;
    `extras` has the standard deviation over the subsets. If every subset contains all generated samples, the
    deviation is that of the real ones alone. Zero is best. It is the expectation for two samples of one
    distribution, so values may be negative. Unlike that of the Frechet distance, the expectation does not
    depend on the number of samples. The subsets are those of torch-fidelity.

    Args:
        subsets: the number of subsets.
        subset_size: the number of real, and of generated, samples in a subset.
        estimator: `unbiased` (all pairs of a real and a generated sample, as published), `u_statistic`
            (without the pairs at the same index: the third estimator of the released code) or `biased` (never
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
        self.settings = {"subsets": subsets, "subset_size": subset_size, "estimator": estimator}
        self.limit = subsets * subset_size  # all subsets together use at most these

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        n, reason, remedy = self.subset_size, "a subset has as many samples of each kind", "lower it to {n}"
        self.require_samples(n, reason, remedy, ".subset_size", n, real=n_real, generated=n_fake)

    def values(self) -> tuple[float, ...]:
        random = np.random.RandomState(SEED)
        distances = []
        for _ in range(self.subsets):
            fake, real = (
                rows[random.choice(len(rows), self.subset_size, replace=False)].double()
                for rows in (self.rows(None), self.rows(self.references[0]))
            )
            distances.append(float(mmd2(fake, real, KERNEL, self.estimator)))
        # True if every subset contains all generated samples.
        all_fake = self.subset_size == self.num_samples[None]
        name = "std_over_subsets_of_reals_alone" if all_fake else "std_over_subsets"
        self.extras = {name: float(np.std(distances))}
        return (float(np.mean(distances)),)


class InceptionScore(ReservoirMetric):
    """Inception Score: exp of the mean divergence KL(p(y|x) || p(y)) over classes (Salimans et al. 2016).

    It lies between 1 and the number of an extractor's classes; the maximum means that all classes are certain
    and equally frequent. The value is the mean over `splits` parts of the samples in a fixed random order;
    more parts give lower scores (Barratt and Sharma 2018). A part of m samples cannot score above m, so each
    part needs as many samples as there are classes, or `ENOUGH`. Real images are not used.
    """

    kinds = ("is",)
    higher_is_better = True

    def __init__(self, extractor: str | Extractor, splits: Count):
        super().__init__(extractor)
        self.splits, self.settings = splits, {"splits": splits}
        self.num_classes = 0  # the number of the extractor's classes; 0: not yet known

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        part = min(self.num_classes, ENOUGH)  # the least number of samples in a part
        n = self.splits * part
        reason = f"a split scores at most its size, so that {n} samples are needed"
        remedy = f"lower it to {n_fake // part}" if n_fake >= part > 0 else "remove the metric"
        self.require_samples(n, reason, remedy, ".splits", self.splits, generated=n_fake)

    def observe(self, x: Tensor) -> tuple[Tensor, ...]:
        logits = self.extractor.extract(x).logits
        self.num_classes = logits.shape[1]
        if not self.num_classes:
            raise ConfigError("this layer of the extractor has no class logits", "choose its last layer")
        return (logits,)

    def values(self) -> tuple[float, ...]:
        # Not the class of torchmetrics, which warns whenever it is built, shuffles with the global generator
        # and may use fewer parts. Its scores and those of torch-fidelity are NaN if a class has probability 0
        # in all samples. The order and the parts are those of torch-fidelity.
        logits = self.rows(None).double()  # [N, K]
        n = len(logits)
        logits = logits[np.random.RandomState(SEED).permutation(n)]
        edges = [i * n // self.splits for i in range(self.splits + 1)]
        scores = [_score(logits[low:high]) for low, high in zip(edges, edges[1:], strict=False)]
        return (sum(scores) / self.splits,)


def _score(logits: Tensor) -> float:
    """The score exp(mean over x of KL(p(y|x) || p(y))) of logits [N, K]."""
    probabilities = logits.softmax(1)
    entropy = -probabilities.xlogy(probabilities).sum(1).mean()
    marginal = probabilities.mean(0)  # [K]
    return float((-marginal.xlogy(marginal).sum() - entropy).exp())
