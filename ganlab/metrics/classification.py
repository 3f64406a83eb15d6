"""A classifier that has seen nothing but a game's samples, tested on real images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count, Positive
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.downstream import CHUNK, Transfer, mistaken
from ganlab.metrics.features import Classifier, eight_bit
from ganlab.metrics.reference import to_unit_range

BATCH = 128
SEED = 0  # of the classifier's weights, dropout and order; the same for samples and for real images


class ClassificationAccuracy(Transfer):
    """The classification accuracy score: how well one learns the classes from samples alone; 1 is best.

    Ravuri & Vinyals 2019. A `Classifier`, new each time, is trained on n samples of classes that were asked
    for as often as the training data have them, by Adam on a one-cycle rate, and finds the classes of the
    real test images. Beside the number stands what the same training on as many real images gives, `real`,
    measured once.

    Args:
        epochs: of training, at least 1.
        lr: the highest rate; positive.
    """

    kind = "classification_accuracy"
    higher_is_better = True

    def __init__(self, epochs: Count, lr: Positive):
        super().__init__()
        self.epochs = epochs
        self.lr = lr
        self._real: float | None = None

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        super().check(data, n_fake, n_real)
        if len(data.shape) != 3 or data.value_range is None:
            raise ConfigError(f"{self.name} is of images, not of these data: choose another metric")
        with torch.device("meta"):  # a size that it does not take is refused; no weights are drawn
            self._new(data)

    def share(self, game: Game, data: Data, seed: int) -> float:
        if self._real is None:
            chosen = [(x, y) for x, y in data.subset("train", self._n, "cpu", CHUNK) if y is not None]
            self._real = self._learned(data, *(torch.cat(part) for part in zip(*chosen, strict=True)))
        labels = game.labels(self._n, data.proportional_labels(self._n))
        assert labels is not None
        return self._learned(data, game.sample(self._n, seed, labels), labels)

    def extras(self) -> dict[str, float]:
        return {} if self._real is None else {"real": self._real}

    def protocol(self) -> dict[str, str | int | float]:
        return {
            **super().protocol(),
            "n_fake": self._n,
            "classifier": "three convolutions, 48 features",
            "epochs": self.epochs,
            "lr": self.lr,
        }

    def _learned(self, data: Data, x: Tensor, labels: Tensor) -> float:
        """The accuracy on the test images of a classifier trained on some images [N, C, H, W]."""
        with torch.random.fork_rng(devices=[]), torch.enable_grad():  # a metric must not shift the run's
            torch.manual_seed(SEED)
            classifier = self._new(data)
            self._train(classifier, as_filed(x, data).cpu(), labels.cpu())
        classifier.eval()
        wrong, total = mistaken(lambda x: classifier.predict(as_filed(x, data)), data, "cpu")
        return (total - wrong) / total

    def _train(self, classifier: Classifier, x: Tensor, labels: Tensor) -> None:
        rounds = self.epochs * -(-len(x) // BATCH)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=self.lr)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.lr, total_steps=rounds)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(classifier(x[rows]), labels[rows]).backward()
                optimizer.step()
                rate.step()

    def _new(self, data: Data) -> Classifier:
        channels, height, width = data.shape
        return Classifier((channels, height, width), data.num_classes or 0, width=24, num_features=48)


def as_filed(x: Tensor, data: Data) -> Tensor:
    """Samples in [0, 1] as files hold them, float32."""
    return eight_bit(to_unit_range(x, data.value_range or (0.0, 1.0))).float()
