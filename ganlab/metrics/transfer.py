"""What else a trained game is good for: its samples as a training set, its discriminator as an eye."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from importlib.metadata import version

import torch
from torch import Tensor

from ganlab.data.base import Data
from ganlab.data.sources import Samples
from ganlab.errors import Refused
from ganlab.game import Game, evaluating
from ganlab.metrics.base import SampleMetric
from ganlab.values import count, positive

CHUNK = 1000  # test images at a time


class Transfer(SampleMetric):
    """A share of the test images that a classifier gets wrong which this game has made; 0 is best.

    It judges the game itself: the samples that other metrics are shown say nothing here.
    """

    higher_is_better = False
    references = ("test",)
    name: str

    def __init__(self) -> None:
        self.names = (self.name,)
        self._data: Data | None = None
        self._n = 0
        self._error: float | None = None

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        if not data.num_classes:
            raise Refused(f"{self.name} is about classes, and these data have none: choose another metric")
        self._data, self._n = data, n_fake

    def update(self, x: Tensor, real: bool) -> None:
        """Samples without their classes say nothing here."""

    def look(self, game: Game) -> None:
        assert self._data is not None
        self._error = self.error(game, self._data)

    @abstractmethod
    def error(self, game: Game, data: Data) -> float:
        """The share of test images whose class is not found."""

    def compute(self) -> dict[str, float]:
        return {} if self._error is None else {self.name: self._error}

    def reset(self) -> None:
        self._error = None

    def protocol(self) -> dict[str, str | int | float]:
        return {"unit": "share of the test images"}


class NearestNeighbourError(Transfer):
    """The error of the nearest neighbour among n samples of classes that were asked for.

    Radford et al. 2016, table 3. Distances are Euclidean, of pixels.
    """

    name = "1nn_error/test"

    def suits(self, game: Game) -> None:
        if game.generator.num_classes is None:
            raise Refused(
                f"{self.name} needs a generator that can be asked for classes: add "
                "trick=label_conditioning, or choose another metric"
            )

    def error(self, game: Game, data: Data) -> float:
        samples = game.sample(self._n, seed=1).flatten(1)
        classes = game.labels(self._n)
        assert classes is not None
        wrong = total = 0
        for x, labels in data.split("test", samples.device, CHUNK):
            assert labels is not None
            nearest = torch.cdist(x.flatten(1).to(samples.dtype), samples).argmin(1)
            wrong += int(classes[nearest].ne(labels).sum())
            total += len(x)
        return wrong / total

    def protocol(self) -> dict[str, str | int | float]:
        return {**super().protocol(), "n_fake": self._n, "samples_seed": 1, "distance": "pixels"}


class LinearProbe(Transfer):
    """The error of a linear support vector machine on the discriminator's features .

    Radford et al. 2016, section 5.1.
    It is trained on the features of at most `n_train` real training images, the same ones in every run; the
    discriminator is in evaluation mode, and is shown the images as they are. The paper pools the features of
    all layers, these are those of the last.

    cost: of an error, against the squared norm of the weights: the C of support vector machines; positive.
    """

    name = "linear_probe/test"

    def __init__(self, n_train: int, cost: float):
        super().__init__()
        self.n_train = count("metric.linear_probe.n_train", n_train)
        self.cost = positive("metric.linear_probe.cost", cost)

    def suits(self, game: Game) -> None:
        if game.discriminator is None:
            raise Refused(
                f"{self.name} needs a discriminator, which this game has not: choose another metric"
            )
        blank = torch.zeros(2, *game.shape, device=next(game.parameters()).device)
        try:
            self._seen(game, [(blank, None)])
        except (RuntimeError, AssertionError, TypeError) as error:
            raise Refused(
                f"{self.name} shows the discriminator single images without their classes, which this one "
                "does not take (trick label_conditioning or packing): choose another metric"
            ) from error

    def error(self, game: Game, data: Data) -> float:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC

        device = next(game.parameters()).device
        train = list(data.choice("train", self.n_train, device, CHUNK))
        test = list(data.split("test", device, CHUNK))
        machine = make_pipeline(StandardScaler(), LinearSVC(C=self.cost, dual=False, random_state=0))
        machine.fit(self._seen(game, train), classes(train))
        found = torch.from_numpy(machine.predict(self._seen(game, test)))
        return float(found.ne(classes(test)).double().mean())

    @torch.no_grad()
    def _seen(self, game: Game, batches: Iterable[Samples]) -> Tensor:
        """The features of some images, [N, F]."""
        judge = game.discriminator
        assert judge is not None
        weight = next(judge.parameters())
        with evaluating(judge):
            return torch.cat([judge(x.to(weight.dtype)).features.float().cpu() for x, _ in batches])

    def protocol(self) -> dict[str, str | int | float]:
        return {
            **super().protocol(),
            "n_train": self.n_train,
            "cost": self.cost,
            "features": "the discriminator's last",
            "scikit-learn": version("scikit-learn"),
        }


def classes(batches: Iterable[Samples]) -> Tensor:
    """The labels of some batches, [N]."""
    return torch.cat([labels for _, labels in batches if labels is not None]).cpu()
