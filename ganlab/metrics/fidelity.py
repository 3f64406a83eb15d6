"""How near fakes come to reals in an extractor's features, and how clear and varied its classes are."""

from __future__ import annotations

from importlib.metadata import version

import torch
from torch import Tensor, nn

from ganlab.data.base import Data
from ganlab.errors import Refused
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.features import Classifier, Extractor, eight_bit


class FrechetDistance(SampleMetric):
    """Frechet distance between Gaussians fitted to the features of reals and fakes (Heusel et al. 2017).

        |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))

    Zero is best. The expectation over samples lies above the true distance, the more so the fewer they
    are (Chong and Forsyth 2020): compare only numbers of equal n_real and n_fake.
    """

    higher_is_better = False

    def __init__(self, extractor: str | Extractor):
        # Imported here: it takes as long as torch itself, and who only builds a game does not need it.
        from torchmetrics.image.fid import FrechetInceptionDistance

        self._extractor = _found(extractor)
        self.name = f"fid/{self._extractor.name}"
        self.names = (self.name,)
        # By default torchmetrics waits at compute() for the other ranks, which may not be evaluating.
        self._distance = FrechetInceptionDistance(
            _Identity(self._extractor.num_features), reset_real_features=False, sync_on_compute=False
        )

    @torch.no_grad()
    def update(self, x: Tensor, real: bool) -> None:
        features = self._extractor.features(_shown(self._extractor, x))
        self._distance.update(features.cpu(), real=real)

    def compute(self) -> dict[str, float]:
        self._enough(self._n_fake, self._n_real)
        return {self.name: float(self._distance.compute())}

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        self._enough(n_fake, n_real)
        _try(self._extractor, data.shape)

    def _enough(self, n_fake: int, n_real: int) -> None:
        """A covariance of fewer samples than features + 1 is singular whatever the samples are."""
        needed = self._extractor.num_features + 1
        for kind, n in {"reals": n_real, "fakes": n_fake}.items():
            if n < needed:
                raise Refused(
                    f"{self.name} of {n} {kind}: {needed - 1} features need {needed} samples or more"
                )

    def reset(self) -> None:
        self._distance.reset()

    def protocol(self) -> dict[str, str | int | float]:
        return {
            **_protocol(self._extractor),
            "n_real": self._n_real,
            "n_fake": self._n_fake,
            "torchmetrics": version("torchmetrics"),
        }

    @property
    def _n_real(self) -> int:
        return int(self._distance.real_features_num_samples)

    @property
    def _n_fake(self) -> int:
        return int(self._distance.fake_features_num_samples)


class InceptionScore(SampleMetric):
    """exp of the mean divergence of p(y|x) from p(y), over an extractor's classes (Salimans et al. 2016).

    Between 1 and the number of classes, which clear and balanced classes reach. The mean over `splits`
    random parts of equal size, as the paper has it; more parts score lower (Barratt and Sharma 2018).
    The reals are not looked at.
    """

    higher_is_better = True

    def __init__(self, extractor: str | Extractor, splits: int):
        if splits < 1:
            raise Refused(f"inception score in {splits} splits: give 1 or more")
        self._extractor = _found(extractor)
        self._splits = splits
        self._logits: list[Tensor] = []
        self.name = f"is/{self._extractor.name}"
        self.names = (self.name,)

    @torch.no_grad()
    def update(self, x: Tensor, real: bool) -> None:
        if not real:
            self._logits.append(self._extractor(_shown(self._extractor, x)).cpu())

    def compute(self) -> dict[str, float]:
        # torchmetrics' class warns whenever it is built, shuffles with the global generator, may use
        # fewer splits than it was given, and is NaN where a class has probability 0 throughout.
        self._enough(self._n_fake)
        logits = torch.cat(self._logits)  # [N, K]
        order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(0))
        scores = [_score(part) for part in logits[order].tensor_split(self._splits)]
        return {self.name: sum(scores) / self._splits}

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        self._enough(n_fake)
        _try(self._extractor, data.shape)

    def _enough(self, n_fake: int) -> None:
        if n_fake < self._splits:
            raise Refused(f"{self.name} of {n_fake} fakes: {self._splits} splits need as many or more")

    def reset(self) -> None:
        self._logits = []

    def protocol(self) -> dict[str, str | int | float]:
        return {**_protocol(self._extractor), "n_real": 0, "n_fake": self._n_fake, "splits": self._splits}

    @property
    def _n_fake(self) -> int:
        return sum(map(len, self._logits))


class _Identity(nn.Module):
    """The extractor that torchmetrics gets: what it is shown are features already."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _try(extractor: Extractor, shape: tuple[int, ...]) -> None:
    """Shows one black image, so that a shape which does not fit is refused at once."""
    extractor.features(_shown(extractor, torch.zeros(1, *shape)))


def _found(extractor: str | Extractor) -> Extractor:
    return Classifier.load(extractor) if isinstance(extractor, str) else extractor


def _shown(extractor: Extractor, x: Tensor) -> Tensor:
    """The samples as the extractor sees them, which is moved to where they are."""
    # In float64 the number does not depend on the device, TF32, autocast or the size of the batches.
    extractor.to(x.device, torch.float64)
    return eight_bit(x)


def _score(logits: Tensor) -> float:
    """exp(mean over x of KL(p(y|x) || p(y))) of logits [N, K]."""
    probabilities = logits.softmax(1)
    entropy = -torch.xlogy(probabilities, probabilities).sum(1).mean()
    marginal = probabilities.mean(0)  # [K]
    return float((-torch.xlogy(marginal, marginal).sum() - entropy).exp())


def _protocol(extractor: Extractor) -> dict[str, str | int | float]:
    return {
        "extractor": extractor.name,
        "weights_sha256": extractor.sha256,
        "dtype": "float64",
        "resize": "none",
        "levels": 256,
        "torch": str(torch.__version__),
    }
