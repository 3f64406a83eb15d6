"""Classification accuracy score: a classifier trained on generated samples, tested on real images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganlab.core.errors import UNSET, require
from ganlab.core.validation import Count, Positive
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.base import ProtocolFields
from ganlab.metrics.downstream import CHUNK, UNIT, ConditionalMetric, count_errors
from ganlab.metrics.features import Classifier, eight_bit, to_unit_range

BATCH = 128
SEED = 0  # of the classifier's weights, dropout and batches, for generated and for real images


class ClassificationAccuracy(ConditionalMetric):
    """The accuracy on real test images of a classifier trained on generated samples only; 1 is best.

    The classification accuracy score of Ravuri & Vinyals 2019. In each evaluation a new `Classifier` is
    trained on n samples, whose classes are as frequent as in the training data, by Adam with a one-cycle
    learning rate. The extra `real` is the accuracy after the same training on as many real images, which is
    measured once.

    Args:
        lr: the maximum learning rate.
    """

    kind = "classification_accuracy"
    higher_is_better = True

    def __init__(self, epochs: Count, lr: Positive):
        super().__init__()
        self.epochs, self.lr = epochs, lr
        self._extras: dict[str, float] = {}

    def check_data(self, data: Data) -> None:
        images = len(data.shape) == 3 and data.value_range is not None
        require(images, "", UNSET, "measures images, and these data are points", "choose another metric")
        with torch.device("meta"):  # raises an error for images that are too small; no weights are drawn
            self._classifier(data)

    def measure(self, game: Game, data: Data, seed: int) -> float:
        if not self._extras:
            chosen = [(x, y) for x, y in data.subset("train", self._n, "cpu", CHUNK) if y is not None]
            real = (torch.cat(part) for part in zip(*chosen, strict=True))
            self._extras = {"real": self._accuracy(data, *real)}
        return self._accuracy(data, *self.samples(game, data, seed))

    def extras(self) -> dict[str, float]:
        return self._extras

    def protocol(self) -> ProtocolFields:
        return {
            "unit": UNIT,
            "n_fake": self._n,
            "classifier": "three convolutions, 48 features",
            "epochs": self.epochs,
            "lr": self.lr,
        }

    def _accuracy(self, data: Data, x: Tensor, labels: Tensor) -> float:
        """The test accuracy of a classifier trained on images [N, C, H, W] with labels [N]."""
        # The random numbers of the run must not be shifted.
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(SEED)
            classifier = self._classifier(data)
            self._train(classifier, quantise(x, data).cpu(), labels.cpu())
        classifier.eval()
        num_test = len(data.sources["test"])
        wrong = count_errors(lambda x: classifier.predict(quantise(x, data)), data, "cpu")
        return (num_test - wrong) / num_test

    def _train(self, classifier: Classifier, x: Tensor, labels: Tensor) -> None:
        num_steps = self.epochs * -(-len(x) // BATCH)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.lr, total_steps=num_steps)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(classifier(x[rows]), labels[rows]).backward()
                optimizer.step()
                schedule.step()

    def _classifier(self, data: Data) -> Classifier:
        channels, height, width = data.shape
        return Classifier((channels, height, width), data.num_classes or 0, width=24, num_features=48)


def quantise(x: Tensor, data: Data) -> Tensor:
    """Samples in the data's range, in [0, 1] and rounded to 256 levels, float32."""
    return eight_bit(to_unit_range(x, data.value_range or (0.0, 1.0))).float()
