"""How near fakes come to reals in an extractor's features, and how clear and varied its classes are."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count
from ganlab.data.base import Split
from ganlab.metrics.feature_cache import Features
from ganlab.metrics.feature_metric import FeatureMetric
from ganlab.metrics.features import Extractor

ENOUGH = 500  # images in a part for any number of classes: real photographs of ImageNet score half of it
ORDER = 2020  # seed of torch-fidelity's order, in which a sample is cut into parts


class FrechetDistance(FeatureMetric):
    """Frechet distance between Gaussians fitted to the features of reals and fakes (Heusel et al. 2017).

        |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))

    Zero is best. The expectation over samples lies above the true distance, the more so the fewer they
    are (Chong and Forsyth 2020): compare only numbers of equal n_real and n_fake.
    """

    kinds = ("fid",)
    higher_is_better = False

    def __init__(self, extractor: str | Extractor, split: Split):
        # Imported here: it takes as long as torch itself, and who only builds a game does not need it.
        from torchmetrics.image.fid import FrechetInceptionDistance

        super().__init__(extractor, split)
        # By default torchmetrics waits at compute() for the other ranks, which may not be evaluating.
        seen = nn.Identity()  # what torchmetrics is shown are features already
        seen.num_features = self.extractor.network.num_features  # type: ignore[assignment]
        self._distance = FrechetInceptionDistance(seen, reset_real_features=False, sync_on_compute=False)

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        """A covariance of fewer samples than features + 1 is singular whatever the samples are."""
        num_features = self.extractor.network.num_features
        remedy = "choose metric=kid with metric.kid.subset_size={n}, or an extractor of fewer features"
        self.needs(num_features + 1, f"{num_features} features", remedy, reals=n_real, fakes=n_fake)

    def take(self, seen: Features, real: bool) -> None:
        self._distance.update(seen.features, real=real)

    def numbers(self) -> tuple[float, ...]:
        return (max(float(self._distance.compute()), 0.0),)  # equal samples leave what rounding does

    def reset(self) -> None:
        super().reset()
        self._distance.reset()

    def protocol(self) -> dict[str, str | int | float]:
        return {**super().protocol(), "torchmetrics": version("torchmetrics")}


class InceptionScore(FeatureMetric):
    """exp of the mean divergence of p(y|x) from p(y), over an extractor's classes (Salimans et al. 2016).

    Between 1 and the number of classes, which clear and balanced classes reach. The mean over `splits`
    parts in an order that has nothing to do with the samples'; more parts score lower (Barratt and
    Sharma 2018). A part of m images cannot score above m: each must have as many as there are classes, or
    `ENOUGH`. The reals are not looked at.
    """

    kinds = ("is",)
    higher_is_better = True

    def __init__(self, extractor: str | Extractor, splits: Count):
        super().__init__(extractor, None)
        self.splits = splits
        self._logits: list[Tensor] = []

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        each = min(self.num_classes, ENOUGH)
        why = f"{self.splits} splits, whose score is at most their number of samples,"
        remedy = f"set metric.is.splits={n_fake // each}" if n_fake >= each > 0 else "leave metric is out"
        self.needs(self.splits * each, why, remedy, fakes=n_fake)

    def take(self, seen: Features, real: bool) -> None:
        if not seen.logits.shape[1]:
            raise ConfigError(
                f"{self.names[0]}: this layer of the extractor sees no classes; choose the last"
            )
        self.num_classes = seen.logits.shape[1]
        self._logits.append(seen.logits)

    def numbers(self) -> tuple[float, ...]:
        # torchmetrics' class warns whenever it is built, shuffles with the global generator, may use
        # fewer splits than it was given; its and torch-fidelity's are NaN where a class has probability 0
        # throughout. The parts are torch-fidelity's.
        logits = torch.cat(self._logits).double()  # [N, K]
        n = len(logits)
        logits = logits[np.random.RandomState(ORDER).permutation(n)]
        edges = [i * n // self.splits for i in range(self.splits + 1)]
        scores = [_score(logits[low:high]) for low, high in zip(edges, edges[1:], strict=False)]
        return (sum(scores) / self.splits,)

    def reset(self) -> None:
        super().reset()
        self._logits = []

    def protocol(self) -> dict[str, str | int | float]:
        return {**super().protocol(), "splits": self.splits}


def _score(logits: Tensor) -> float:
    """exp(mean over x of KL(p(y|x) || p(y))) of logits [N, K]."""
    probabilities = logits.softmax(1)
    entropy = -torch.xlogy(probabilities, probabilities).sum(1).mean()
    marginal = probabilities.mean(0)  # [K]
    return float((-torch.xlogy(marginal, marginal).sum() - entropy).exp())
