"""Metrics of downstream tasks: classifiers trained on generated samples or taken from the discriminator."""

import math
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import Count, Positive
from ganlab.data.sources import Samples
from ganlab.metrics.base import Data, Game, GameMetric, short_number
from ganlab.metrics.extractors import Classifier
from ganlab.metrics.features import ProtocolFields, round_to_256_levels, to_unit_range
from ganlab.networks.base import evaluating
from ganlab.networks.hidden_activations import hidden_activations

CHUNK = 1000  # images that are classified at a time
BATCH = 128  # the batch size of a classifier's training
SEED = 0  # the seed of a classifier's weights, dropout and batches
TOLERANCE = 0.01  # the stopping tolerance of LinearSVC; smaller values would hardly change the error
UNIT = "share of the test images"  # the unit of most values, for protocols
OTHER_METRIC = "choose another metric"  # a remedy


class DownstreamMetric(GameMetric):
    """Base class of metrics that count how many test images a classifier gets right or wrong.

    A value is named prefix/test_n if the metric trains the classifier on n samples, otherwise prefix/test.
    """

    references = ("test",)
    name_prefix: ClassVar[str]  # the first part of the name of the value, such as "1nn_error"

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        classes = (data.condition and data.condition.num_classes) or 0  # labels may only choose samples
        reason = "measures classification, and these data do not have two classes or more"
        require(classes > 1, reason, OTHER_METRIC)
        self._data = data
        self._n, key = self.training_size_and_key(data, n_fake)
        self._num_test = len(data.sources["test"])
        self.names = (f"{self.name_prefix}/test",)
        if self._n:
            reason = f"cannot learn {classes} classes from {self._n} samples"
            require(self._n >= classes, reason, f"set it to {classes} or more", key, self._n)
            self.names = (f"{self.name_prefix}/test_{short_number(self._n)}",)

    def training_size_and_key(self, data: Data, n_fake: int) -> tuple[int, str]:
        """The number of training samples (0: the game has the classifier), and the key that limits it."""
        return 0, ""

    def count_errors(self, classify: Callable[[Tensor], Tensor], device: torch.device | str) -> int:
        """The number of test images for which `classify` gives a wrong class, [N, *shape] -> [N]."""
        batches = self._data.split("test", device, CHUNK)
        return sum(int(classify(x).ne(labels).sum()) for x, labels in batches if labels is not None)


class ConditionalMetric(DownstreamMetric):
    """Base class of metrics whose classifier is trained on generated samples of requested classes.

    There are `evaluation.n` training samples. Their classes are as frequent as in the training data.
    """

    def training_size_and_key(self, data: Data, n_fake: int) -> tuple[int, str]:
        return n_fake, "evaluation.n"

    def check_game(self, game: Game) -> None:
        remedy = f"add trick=label_conditioning, or {OTHER_METRIC}"
        require(game.generator.num_classes, "needs a class-conditional generator", remedy)

    def samples(self, game: Game, seed: int) -> tuple[Tensor, Tensor]:
        """Samples [N, *shape] in the data's range, and their classes [N]."""
        # The generator's classes, in the proportions of the training split, on the device of the game.
        labels = game.asked(self._n, self._data.proportional_labels(self._n))
        assert labels is not None
        return game.sample(self._n, seed, labels), labels


class NearestNeighbourError(ConditionalMetric):
    """The test error of a nearest-neighbour classifier of generated samples (Radford et al. 2016, table 3).

    The classifier gives an image the class of the generated sample at the smallest Euclidean distance.
    """

    name_prefix = "1nn_error"
    higher_is_better = False
    input_kind = "points"  # it takes samples of any shape

    def measure(self, game: Game, seed: int) -> float:
        samples, labels = self.samples(game, seed)
        samples = samples.flatten(1)

        def nearest_class(x: Tensor) -> Tensor:
            return labels[torch.cdist(x.flatten(1).to(samples.dtype), samples).argmin(1)]

        return self.count_errors(nearest_class, samples.device) / self._num_test

    def protocol(self) -> ProtocolFields:
        return {"unit": UNIT, "n_fake": self._n, "distance": "pixels"}


class ClassificationAccuracy(ConditionalMetric):
    """The accuracy on real test images of a classifier trained on generated samples only; 1 is best.

    This is the classification accuracy score of Ravuri & Vinyals 2019. In each evaluation a new `Classifier`
    is trained by Adam with a one-cycle learning rate. The extra result `real` is the accuracy after the same
    training on as many real images. It is measured once in a run.

    Args:
        epochs: the number of passes over the training samples.
        lr: the maximum learning rate.
    """

    name_prefix = "classification_accuracy"
    higher_is_better = True

    def __init__(self, epochs: Count, lr: Positive):
        self.epochs, self.lr = epochs, lr

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        super().setup(data, n_fake, n_real)
        with torch.device("meta"):  # on which no weights are drawn
            self._classifier()  # raises an error if the images are too small

    def measure(self, game: Game, seed: int) -> float:
        if not self.extras:
            images, labels = next(self._data.subset("train", self._n, "cpu", batch_size=self._n))
            assert labels is not None
            self.extras = {"real": self._accuracy(images, labels)}
        return self._accuracy(*self.samples(game, seed))

    def protocol(self) -> ProtocolFields:
        network = "three convolutions, 48 features"
        return {"unit": UNIT, "n_fake": self._n, "classifier": network, "epochs": self.epochs, "lr": self.lr}

    def _accuracy(self, x: Tensor, labels: Tensor) -> float:
        """The test accuracy of a classifier trained on images [N, C, H, W] with labels [N]."""
        x, labels = self._preprocess(x).cpu(), labels.cpu()
        # The training must not change the random numbers of the run.
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(SEED)
            classifier = self._classifier()
            num_steps = self.epochs * math.ceil(len(x) / BATCH)
            optimizer = torch.optim.Adam(classifier.parameters(), lr=self.lr)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.lr, total_steps=num_steps)
            for _ in range(self.epochs):
                for rows in torch.randperm(len(x)).split(BATCH):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(classifier(x[rows]), labels[rows]).backward()
                    optimizer.step()
                    schedule.step()
        classifier.eval()
        num_errors = self.count_errors(lambda x: classifier.predict(self._preprocess(x)), "cpu")
        return (self._num_test - num_errors) / self._num_test

    def _classifier(self) -> Classifier:
        return Classifier(self._data.shape, self._data.num_classes or 0, width=24, num_features=48)

    def _preprocess(self, x: Tensor) -> Tensor:
        """Samples in the data's range, scaled to [0, 1] and rounded to 256 levels, as float32."""
        return round_to_256_levels(to_unit_range(x, self._data.value_range or (0.0, 1.0))).float()


class LinearProbe(DownstreamMetric):
    """The test error of a linear support vector machine on activations of the discriminator.

    As in Radford et al. 2016, section 5.1, the features are the activations of all hidden layers together,
    where feature maps are max-pooled to a grid of 4 x 4. The classifier has a squared hinge loss, for each
    class against the rest. It is trained on real training images, the same ones in every run. The
    discriminator is in evaluation mode, and the images are not preprocessed. Unlike in the paper, each
    feature is normalised to mean 0 and variance 1 over the training images. The penalty on the weights then
    does not depend on the scale of a layer, so one cost suits all networks.

    Args:
        n_train: the largest number of training images.
        cost: the weight of the errors relative to the squared norm of the weights: C of scikit-learn.
    """

    name_prefix = "linear_probe"
    higher_is_better = False
    depends_on_sampling = False

    def __init__(self, n_train: Count, cost: Positive):
        self.n_train, self.cost = n_train, cost

    def training_size_and_key(self, data: Data, n_fake: int) -> tuple[int, str]:
        return min(self.n_train, len(data)), ".n_train"

    def check_game(self, game: Game) -> None:
        require(game.discriminator is not None, "needs a discriminator, and this game has none", OTHER_METRIC)
        judges_codes = game.networks.code_dim > 0
        require(not judges_codes, "needs a discriminator of images, and this one judges codes", OTHER_METRIC)
        blank_image = torch.zeros(1, *game.shape, device=next(game.parameters()).device)
        try:
            activations = self._activations(game, blank_image)
        except (RuntimeError, AssertionError, TypeError, ConfigError) as error:
            remedy = f"remove label_conditioning, packing or minibatch_stddev, or {OTHER_METRIC}"
            raise ConfigError("needs a discriminator of single images without classes", remedy) from error
        reason = "found no hidden layer in the discriminator: its body has no activation that is a module"
        require(activations, reason, f"add some, such as nn.LeakyReLU, or {OTHER_METRIC}")

    def measure(self, game: Game, seed: int) -> float:
        from sklearn import pipeline, preprocessing, svm

        device = next(game.parameters()).device
        features, labels = self._features(game, self._data.subset("train", self._n, device, CHUNK))
        test_features, test_labels = self._features(game, self._data.split("test", device, CHUNK))
        # For thousands of features the dual problem takes half of the time, and has the same solution.
        machine = svm.LinearSVC(C=self.cost, dual=True, tol=TOLERANCE, random_state=0)
        classifier = pipeline.make_pipeline(preprocessing.StandardScaler(), machine)
        predicted = torch.from_numpy(classifier.fit(features, labels).predict(test_features))
        return float(predicted.ne(test_labels).double().mean())

    def _features(self, game: Game, batches: Iterable[Samples]) -> tuple[Tensor, Tensor]:
        """The features [N, F] and the labels [N] of images, on the CPU."""
        pairs = [(torch.cat(self._activations(game, x), 1), y) for x, y in batches if y is not None]
        features, labels = zip(*pairs, strict=True)
        return torch.cat(features), torch.cat(labels).cpu()

    def _activations(self, game: Game, x: Tensor) -> list[Tensor]:
        """The activations [N, F] of each hidden layer of the discriminator, on the CPU."""
        assert game.discriminator is not None
        with evaluating(game.discriminator):
            return hidden_activations(game.discriminator, x.to(next(game.discriminator.parameters()).dtype))

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


class Errors(DownstreamMetric):
    """The metric `errors`, the classification errors: how many test images the game's classifier gets wrong.

    0 is best. The classifier is the discriminator with its class head, in evaluation mode. If a trick such as
    EMA keeps an average of the discriminator's weights, the classifier has the average weights.
    """

    name_prefix = "errors"
    higher_is_better = False
    depends_on_sampling = False
    _network_name = ""

    def check_game(self, game: Game) -> None:
        _ = game.classifier  # raises an error if there is none
        try:
            game.classify(torch.zeros(1, *game.shape, device=next(game.parameters()).device))
        except ConfigError as error:
            remedy = f"remove trick=minibatch_stddev, or {OTHER_METRIC}"
            raise ConfigError("needs a discriminator of single images", remedy) from error

    def measure(self, game: Game, seed: int) -> float:
        assert game.discriminator is not None
        tricks = game.tricks.tricks_that_replace("discriminator", game.discriminator)
        self._network_name = "+".join(tricks) or "discriminator"  # such as "ema"
        return float(self.count_errors(lambda x: game.classify(x).argmax(1), next(game.parameters()).device))

    def protocol(self) -> ProtocolFields:
        return {"unit": "errors", "n_test": self._num_test, "classifier": self._network_name}
