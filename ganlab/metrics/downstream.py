"""What else a trained game is good for: its samples as a training set, its discriminator as an eye."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import ClassVar

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count, Positive
from ganlab.data.base import Data
from ganlab.data.sources import Samples
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.feature_metric import short
from ganlab.networks.activations import hidden_activations
from ganlab.networks.base import evaluating

CHUNK = 1000  # test images at a time
TOLERANCE = 0.01  # of the linear machine: a finer one moves its error by less than chance does


class Transfer(SampleMetric):
    """A share of the test images: how a classifier does that this game has made.

    It judges the game itself: the samples that other metrics are shown say nothing here.
    """

    references = ("test",)
    kind: ClassVar[str]  # such as "1nn_error"
    setting: ClassVar[str] = "evaluation.n"  # how many samples make the classifier

    def __init__(self) -> None:
        self.name = f"{self.kind}/test"
        self.names: tuple[str, ...] = (self.name,)
        self._data: Data | None = None
        self._n = 0
        self._share: float | None = None

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        num_classes = data.num_classes or 0
        if num_classes < 2:
            raise ConfigError(
                f"{self.name} is about classes, of which these data have no two: choose another metric"
            )
        self._data, self._n = data, n_fake
        if self.trained_on < num_classes:
            known = f"{num_classes} classes in {self.trained_on} samples"
            raise ConfigError(
                f"{self.name} cannot learn {known}: set {self.setting} to {num_classes} or more"
            )
        self.name = f"{self.kind}/test_{short(self.trained_on)}"
        self.names = (self.name,)

    @property
    def trained_on(self) -> int:
        """How many samples make the classifier."""
        return self._n

    def check_game(self, game: Game) -> None:
        if game.generator.num_classes is None:
            raise ConfigError(
                f"{self.name} needs a generator that can be asked for classes: add trick=label_conditioning, "
                "or choose another metric"
            )

    def update(self, x: Tensor, real: bool) -> None:
        """Samples without their classes say nothing here."""

    def observe_game(self, game: Game, seed: int) -> None:
        assert self._data is not None
        self._share = self.share(game, self._data, seed)

    @abstractmethod
    def share(self, game: Game, data: Data, seed: int) -> float:
        """The share of test images, of those that are found or those that are not; or their number."""

    def compute(self) -> dict[str, float]:
        return {} if self._share is None else {self.name: self._share}

    def reset(self) -> None:
        self._share = None

    def protocol(self) -> dict[str, str | int | float]:
        return {"unit": "share of the test images"}


class NearestNeighbourError(Transfer):
    """The error of the nearest neighbour among n samples of classes, asked for as often as training has them.

    Radford et al. 2016, table 3. Distances are Euclidean, of pixels.
    """

    kind = "1nn_error"
    higher_is_better = False

    def share(self, game: Game, data: Data, seed: int) -> float:
        classes = game.labels(self._n, data.proportional_labels(self._n))
        assert classes is not None
        samples = game.sample(self._n, seed, classes).flatten(1)

        def nearest(x: Tensor) -> Tensor:
            return classes[torch.cdist(x.flatten(1).to(samples.dtype), samples).argmin(1)]

        wrong, total = mistaken(nearest, data, samples.device)
        return wrong / total

    def protocol(self) -> dict[str, str | int | float]:
        return {**super().protocol(), "n_fake": self._n, "distance": "pixels"}


class LinearProbe(Transfer):
    """The error of a linear support vector machine on the features of all of the discriminator's layers.

    Radford et al. 2016, section 5.1: what each hidden layer makes of an image, planes max-pooled to a grid of
    4 x 4, in one row, and a linear machine with squared hinge loss, one class against the rest.

    It is trained on at most `n_train` real training images, the same ones in every run; the discriminator is
    in evaluation mode, and is shown the images as they are. Each number is brought to mean 0 and variance 1
    over the images of training, of which the paper says nothing: the penalty then weighs layers alike,
    whatever their scales, and one cost does for all networks.

    cost: of an error, against the squared norm of the weights: the C of support vector machines; positive.
    """

    kind = "linear_probe"
    setting = "metric.linear_probe.n_train"
    higher_is_better = False
    needs_samples = False

    def __init__(self, n_train: Count, cost: Positive):
        super().__init__()
        self.n_train, self.cost = n_train, cost

    @property
    def trained_on(self) -> int:
        return min(self.n_train, len(self._data)) if self._data is not None else self.n_train

    def check_game(self, game: Game) -> None:
        if game.discriminator is None:
            raise ConfigError(
                f"{self.name} needs a discriminator, and this game has none: choose another metric"
            )
        weight = next(game.discriminator.parameters())
        blank = torch.zeros(1, *game.shape, dtype=weight.dtype, device=weight.device)
        try:
            with evaluating(game.discriminator):
                layers = hidden_activations(game.discriminator, blank)
        except (RuntimeError, AssertionError, TypeError, ConfigError) as error:
            raise ConfigError(
                f"{self.name} shows the discriminator single images without their classes, which this one "
                "does not take (trick label_conditioning, packing or minibatch_stddev): choose another metric"
            ) from error
        if not layers:
            raise ConfigError(
                f"{self.name} finds no hidden layer in the discriminator, whose body has no activation as a "
                "module, such as nn.LeakyReLU: give it some, or choose another metric"
            )

    def share(self, game: Game, data: Data, seed: int) -> float:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC

        device = next(game.parameters()).device
        train = list(data.subset("train", self.n_train, device, CHUNK))
        test = list(data.split("test", device, CHUNK))
        # Thousands of features: the dual problem has the same solution, and is solved in half of the time.
        solver = LinearSVC(C=self.cost, dual=True, tol=TOLERANCE, random_state=0)
        machine = make_pipeline(StandardScaler(), solver)
        machine.fit(self._seen(game, train), classes(train))
        found = torch.from_numpy(machine.predict(self._seen(game, test)))
        return float(found.ne(classes(test)).double().mean())

    def _seen(self, game: Game, batches: Iterable[Samples]) -> Tensor:
        """The features of some images, [N, F] on the CPU."""
        judge = game.discriminator
        assert judge is not None
        weight = next(judge.parameters())
        with evaluating(judge):
            return torch.cat(
                [torch.cat(hidden_activations(judge, x.to(weight.dtype)), 1) for x, _ in batches]
            )

    def protocol(self) -> dict[str, str | int | float]:
        return {
            **super().protocol(),
            "n_train": self.trained_on,
            "cost": self.cost,
            "tolerance": TOLERANCE,
            "features": "all hidden layers, max-pooled to 4x4",
            "scaling": "each feature to mean 0 and variance 1 over the training images",
            "scikit-learn": version("scikit-learn"),
        }


def classes(batches: Iterable[Samples]) -> Tensor:
    """The labels of some batches, [N]."""
    return torch.cat([labels for _, labels in batches if labels is not None]).cpu()


def mistaken(classify: Callable[[Tensor], Tensor], data: Data, device: torch.device | str) -> tuple[int, int]:
    """How many test samples are taken for another class than theirs, and how many there are."""
    wrong = total = 0
    for x, labels in data.split("test", device, CHUNK):
        assert labels is not None
        wrong += int(classify(x).ne(labels).sum())
        total += len(x)
    return wrong, total
