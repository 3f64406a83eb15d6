"""Metrics of fidelity on features: Frechet distance (FID), kernel distance (KID), Inception Score."""

from importlib.metadata import version
from typing import Literal

import numpy as np
from torch import Tensor, nn

from ganlab.core.errors import require
from ganlab.core.validation import Count, TwoOrMore, Whole
from ganlab.data.base import Data, Split
from ganlab.functional.distances import mmd2, mmd2_interval
from ganlab.functional.kernels import Polynomial
from ganlab.metrics.base import GENERATED, FeatureMetric, Generated, StoringMetric, require_enough
from ganlab.metrics.features import Extractor

# The Inception Score is the mean of the scores of parts of the samples. A part of m samples scores at most m.
# Parts of this size do not limit the score: the real images of ImageNet score about 250.
ENOUGH_IN_A_PART = 500
SEED = 2020  # torch-fidelity's seed for the subsets of KID, and for the order of the samples of IS
KERNEL = Polynomial(degree=3, offset=1.0)  # the kernel of KID


class FrechetDistance(FeatureMetric):
    """FID: the Frechet distance between Gaussians fitted to real and generated features (Heusel et al. 2017).

        |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))

    with the means m, m' and the covariances S, S' of the real and the generated features. Zero is best. The
    expected value for finite samples exceeds the distance of the distributions, and falls as the samples grow
    (Chong and Forsyth 2020). So only values of equal n_real and n_fake are comparable.

    Args:
        extractor: a network, or the name of a classifier.
        split: the split of the real images.
    """

    name_prefixes = ("fid",)
    higher_is_better = False

    def __init__(self, extractor: str | Extractor, split: Split):
        # Imported here because it takes as long as importing torch, and most commands do not need it.
        from torchmetrics.image.fid import FrechetInceptionDistance

        super().__init__(extractor, split)
        self.protocol_fields = {"torchmetrics": version("torchmetrics")}
        identity = nn.Identity()  # replaces torchmetrics' network, because `update` receives features
        identity.num_features = self.extractor.num_features  # type: ignore[assignment]
        # sync_on_compute=False: else torchmetrics would wait for other processes, which may not evaluate.
        self._distance = FrechetInceptionDistance(identity, reset_real_features=False, sync_on_compute=False)

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        """Checks that there are more samples than features, because otherwise the covariance is singular."""
        n = self.extractor.num_features
        reason = f"the covariance of {n} features needs {n + 1} samples"
        kid = f"metric=kid with metric.kid.subset_size={min(n_real, n_fake)}"
        remedy = f"choose {kid}, or an extractor of fewer features"
        require_enough(n + 1, {"real": n_real, "generated": n_fake}, reason, remedy)

    def add(self, representations: tuple[Tensor, ...], split: Split | Generated) -> None:
        (features,) = representations
        self._distance.update(features, real=split != GENERATED)

    def reset(self) -> None:
        super().reset()
        self._distance.reset()

    def values(self) -> tuple[float, ...]:
        return (max(float(self._distance.compute()), 0.0),)  # rounding may leave a negative value


class KernelDistance(StoringMetric):
    """KID: the squared MMD of features with a cubic kernel (Binkowski et al. 2018, section 4).

    The kernel is (x . y / F + 1)^3 for F features. KID is the mean over random subsets of the real and the
    generated samples, the same subsets as torch-fidelity's; `extras` has the standard deviation over the
    subsets. If every subset contains all generated samples, only the real samples cause this deviation.

    Zero is best. Samples of one distribution have the expected value 0, so values may be negative. The
    expected value does not depend on the number of samples, unlike for the Frechet distance.

    Args:
        extractor: a network, or the name of a classifier.
        split: the split of the real images.
        subsets: the number of subsets.
        subset_size: the number of real, and of generated, samples in a subset.
        bootstrap: the number of resamplings for an interval of 95 % around the unbiased estimate from all
            stored samples, whose ends are in `extras`; 0: there is no interval.
        estimator: `unbiased` (all pairs of a real and a generated sample, as published), `u_statistic`
            (without the pairs at the same index: the third estimator of the released code) or `biased` (never
            negative); see `ganlab.functional.distances.mmd2`.
    """

    name_prefixes = ("kid",)
    higher_is_better = False

    def __init__(
        self, extractor: str | Extractor, split: Split, subsets: Count, subset_size: TwoOrMore,
        estimator: Literal["unbiased", "u_statistic", "biased"] = "unbiased", bootstrap: Whole = 0,
    ):  # fmt: skip
        super().__init__(extractor, split)
        self.bootstrap = bootstrap
        self.subsets, self.subset_size, self.estimator = subsets, subset_size, estimator
        self.protocol_fields = {"subsets": subsets, "subset_size": subset_size, "estimator": estimator}
        self.limit = subsets * subset_size  # all subsets together use at most this number of samples

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        size, sizes = self.subset_size, {"real": n_real, "generated": n_fake}
        reason = "a subset needs this many real and this many generated samples"
        require_enough(size, sizes, reason, f"lower it to {min(n_real, n_fake)}", ".subset_size", size)

    def values(self) -> tuple[float, ...]:
        rng = np.random.RandomState(SEED)

        def draw(rows: Tensor) -> Tensor:
            return rows[rng.choice(len(rows), self.subset_size, replace=False)].double()

        fake, real = self.rows(GENERATED), self.rows(self.references[0])
        # Generated samples are drawn first, as in torch-fidelity.
        distances = [float(mmd2(draw(fake), draw(real), KERNEL, self.estimator)) for _ in range(self.subsets)]
        every_subset_has_all_fakes = self.subset_size == self.num_samples[GENERATED]
        name = "std_over_subsets_of_reals_alone" if every_subset_has_all_fakes else "std_over_subsets"
        self.extras = {name: float(np.std(distances))}
        if self.bootstrap:
            low, high = mmd2_interval(fake.double(), real.double(), KERNEL, self.bootstrap, SEED)
            self.extras = {**self.extras, "low": low, "high": high}
        return (float(np.mean(distances)),)


class InceptionScore(StoringMetric):
    """Inception Score: exp of the mean divergence KL(p(y|x) || p(y)) over classes (Salimans et al. 2016).

    It lies between 1 and the number of classes of the extractor. It reaches the maximum if the class of every
    sample is certain and all classes are equally frequent. The value is the mean over `splits` parts of the
    samples in a fixed random order; more parts give lower scores (Barratt and Sharma 2018). A part of m
    samples cannot score above m, so each part needs as many samples as there are classes, but not more than
    `ENOUGH_IN_A_PART`. Real images are not used.

    Args:
        extractor: a network, or the name of a classifier.
        splits: the number of parts.
    """

    name_prefixes = ("is",)
    higher_is_better = True

    def __init__(self, extractor: str | Extractor, splits: Count):
        super().__init__(extractor)
        self.splits, self.protocol_fields = splits, {"splits": splits}
        self.num_classes = 0  # the number of classes of the extractor; 0: not known before `represent`

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        super().setup(data, n_fake, n_real)
        self.check_sample_size(n_fake, n_real)  # again, because `num_classes` is known now

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        if self.num_classes:
            needed_in_a_part = min(self.num_classes, ENOUGH_IN_A_PART)
            needed = self.splits * needed_in_a_part
            reason = f"a part of n samples scores at most n, so that {needed} samples are needed"
            possible_splits = n_fake // needed_in_a_part
            remedy = f"lower it to {possible_splits}" if possible_splits else "remove the metric"
            require_enough(needed, {"generated": n_fake}, reason, remedy, key=".splits", value=self.splits)

    def represent(self, x: Tensor) -> tuple[Tensor, ...]:
        logits = self.extractor.extract(x).logits
        self.num_classes = logits.shape[1]
        require(self.num_classes, "this layer of the extractor has no class logits", "choose its last layer")
        return (logits,)

    def values(self) -> tuple[float, ...]:
        # torchmetrics' class is not used, because it warns whenever it is built, shuffles with the global
        # generator, and may use fewer parts. Its scores and those of torch-fidelity are NaN if a class has
        # probability 0 in all samples. The order and the parts are the same as in torch-fidelity.
        logits = self.rows(GENERATED).double()  # [N, K]
        n = len(logits)
        logits = logits[np.random.RandomState(SEED).permutation(n)]
        bounds = [i * n // self.splits for i in range(self.splits + 1)]
        scores = [inception_score(logits[i:j]) for i, j in zip(bounds[:-1], bounds[1:], strict=True)]
        return (sum(scores) / self.splits,)


def inception_score(logits: Tensor) -> float:
    """exp of the mean of KL(p(y|x) || p(y)) over samples x with class logits [N, K].

    The mean divergence equals the entropy of the marginal p(y), less the mean entropy of p(y|x).
    """
    probabilities = logits.softmax(1)
    marginal = probabilities.mean(0)  # [K]
    mean_entropy = -probabilities.xlogy(probabilities).sum(1).mean()
    return float((-marginal.xlogy(marginal).sum() - mean_entropy).exp())
