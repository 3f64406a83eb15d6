"""Metrics of downstream tasks: classification by generated samples, or by discriminator features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import ClassVar

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, ConfigError, require
from ganlab.core.validation import Count, Positive
from ganlab.data.base import Data, Split
from ganlab.data.sources import Samples
from ganlab.game import Game
from ganlab.metrics.base import ProtocolFields, SampleMetric, short_number
from ganlab.networks.activations import hidden_activations
from ganlab.networks.base import evaluating

CHUNK = 1000  # test images at a time
TOLERANCE = 0.01  # of the linear classifier: a smaller one changes its error by less than chance does
UNIT = "share of the test images"


class DownstreamMetric(SampleMetric):
    """Base class of metrics that count how many test images a classifier gets right or wrong.

    The classifier is made from the game; the samples that are passed to `update` are not used. Values are
    named kind/test_n, where n is the number of the classifier's training samples, if it has any.
    """

    references = ("test",)
    needs_game = True
    kind: ClassVar[str]  # such as "1nn_error"
    size_key: ClassVar[str] = ""  # the setting that limits the number of training samples

    def __init__(self) -> None:
        self.names = (f"{self.kind}/test",)
        self._value: float | None = None

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        classes = data.num_classes or 0
        reason = "measures classification, and these data do not have two classes or more"
        require(classes > 1, "", UNSET, reason, "choose another metric")
        self.check_data(data)
        self._data, self._n = data, self.num_training(data, n_fake)
        if self._n:
            reason = f"cannot learn {classes} classes from {self._n} samples"
            require(self._n >= classes, self.size_key, self._n, reason, f"set it to {classes} or more")
            self.names = (f"{self.kind}/test_{short_number(self._n)}",)

    def check_data(self, data: Data) -> None:  # noqa: B027, a hook
        """Checks that the classifier can be trained on these data; errors as in `setup`."""

    @abstractmethod
    def num_training(self, data: Data, n_fake: int) -> int:
        """The number of training samples of the classifier; 0: the game has trained it."""

    @abstractmethod
    def measure(self, game: Game, data: Data, seed: int) -> float:
        """The value for a game."""

    def observe_game(self, game: Game, seed: int) -> None:
        self._value = self.measure(game, self._data, seed)

    def update(self, x: Tensor, split: Split | None = None) -> None:
        """Samples without their classes are not used."""

    def compute(self) -> dict[str, float]:
        return {} if self._value is None else {self.names[0]: self._value}

    def reset(self) -> None:
        self._value = None


class ConditionalMetric(DownstreamMetric):
    """Base class of metrics whose classifier is made from samples of requested classes.

    There are as many samples as `evaluation.n`, and classes are as frequent as in the training data.
    """

    size_key = "evaluation.n"

    def num_training(self, data: Data, n_fake: int) -> int:
        return n_fake

    def check_game(self, game: Game) -> None:
        remedy = "add trick=label_conditioning, or choose another metric"
        require(game.generator.num_classes, "", UNSET, "needs a class-conditional generator", remedy)

    def samples(self, game: Game, data: Data, seed: int) -> tuple[Tensor, Tensor]:
        """Samples [N, *shape] in the data's range, and their classes [N]."""
        labels = game.labels(self._n, data.proportional_labels(self._n))
        assert labels is not None
        return game.sample(self._n, seed, labels), labels


class NearestNeighbourError(ConditionalMetric):
    """The error of a nearest-neighbour classifier on generated samples (Radford et al. 2016, table 3).

    Distances are Euclidean distances of pixels.
    """

    kind = "1nn_error"
    higher_is_better = False

    def measure(self, game: Game, data: Data, seed: int) -> float:
        samples, labels = self.samples(game, data, seed)
        samples = samples.flatten(1)

        def classify(x: Tensor) -> Tensor:
            return labels[torch.cdist(x.flatten(1).to(samples.dtype), samples).argmin(1)]

        return count_errors(classify, data, samples.device) / len(data.sources["test"])

    def protocol(self) -> ProtocolFields:
        return {"unit": UNIT, "n_fake": self._n, "distance": "pixels"}


class LinearProbe(DownstreamMetric):
    """The error of a linear support vector machine on the features of all of the discriminator's layers.

    Radford et al. 2016, section 5.1: the activations of each hidden layer, feature maps max-pooled to a grid
    of 4 x 4, are concatenated; the classifier has a squared hinge loss, one class against the rest.

    It is trained on at most `n_train` real training images, the same ones in every run. The discriminator is
    in evaluation mode, and the images are not preprocessed. Each feature is normalised to mean 0 and variance
    1 over the training images, which the paper does not mention: the penalty then weighs layers equally,
    whatever their scales, and one cost suits all networks.

    Args:
        cost: of an error, relative to the squared norm of the weights: C of support vector machines.
    """

    kind = "linear_probe"
    size_key = ".n_train"
    higher_is_better = False
    uses_samples = False

    def __init__(self, n_train: Count, cost: Positive):
        super().__init__()
        self.n_train, self.cost = n_train, cost

    def num_training(self, data: Data, n_fake: int) -> int:
        return min(self.n_train, len(data))

    def check_game(self, game: Game) -> None:
        if game.discriminator is None:
            raise ConfigError("needs a discriminator, and this game has none", "choose another metric")
        weight = next(game.discriminator.parameters())
        blank = torch.zeros(1, *game.shape, dtype=weight.dtype, device=weight.device)
        try:
            with evaluating(game.discriminator):
                layers = hidden_activations(game.discriminator, blank)
        except (RuntimeError, AssertionError, TypeError, ConfigError) as error:
            remedy = "remove label_conditioning, packing or minibatch_stddev, or choose another metric"
            raise ConfigError("needs a discriminator of single images without classes", remedy) from error
        reason = "found no hidden layer in the discriminator: its body has no activation that is a module"
        require(layers, "", UNSET, reason, "add some, such as nn.LeakyReLU, or choose another metric")

    def measure(self, game: Game, data: Data, seed: int) -> float:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC

        device = next(game.parameters()).device
        x, labels = self._features(game, data.subset("train", self.n_train, device, CHUNK))
        x_test, labels_test = self._features(game, data.split("test", device, CHUNK))
        # For thousands of features the dual problem is solved in half of the time, with the same solution.
        solver = LinearSVC(C=self.cost, dual=True, tol=TOLERANCE, random_state=0)
        classifier = make_pipeline(StandardScaler(), solver)
        predicted = torch.from_numpy(classifier.fit(x, labels).predict(x_test))
        return float(predicted.ne(labels_test).double().mean())

    def _features(self, game: Game, batches: Iterable[Samples]) -> tuple[Tensor, Tensor]:
        """The features [N, F] and the labels [N] of images, on the CPU."""
        discriminator = game.discriminator
        assert discriminator is not None
        dtype = next(discriminator.parameters()).dtype
        with evaluating(discriminator):
            parts = [(*hidden_activations(discriminator, x.to(dtype)), labels) for x, labels in batches]
        *features, labels = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        return torch.cat(features, 1), labels

    def protocol(self) -> ProtocolFields:
        return {
            "unit": UNIT,
            "n_train": self._n,
            "cost": self.cost,
            "tolerance": TOLERANCE,
            "features": "all hidden layers, max-pooled to 4x4",
            "scaling": "each feature to mean 0 and variance 1 over the training images",
            "scikit-learn": version("scikit-learn"),
        }


def count_errors(classify: Callable[[Tensor], Tensor], data: Data, device: torch.device | str) -> int:
    """The number of test samples that are classified wrongly."""
    batches = data.split("test", device, CHUNK)
    return sum(int(classify(x).ne(labels).sum()) for x, labels in batches if labels is not None)
