"""A classifier's features as a space in which an objective compares samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from ganlab.core.errors import require
from ganlab.core.turn import Sample
from ganlab.metrics.features import Classifier


class ClassifierFeatures(nn.Module):
    """Sample -> [B, F], not negative; the classifier is frozen and always in evaluation mode.

    Args:
        extractor: the name of a classifier in `ganlab/metrics/weights`.
        shape: of a sample.
        value_range: of the data.

    Raises:
        ConfigError: the classifier does not take samples of this shape.
    """

    def __init__(self, extractor: str, shape: Sequence[int], value_range: tuple[float, float] | None):
        super().__init__()
        self.classifier = Classifier.load(extractor)
        own, shape = list(self.classifier.shape), list(shape)
        reason = f"takes images of shape {own}, and these data have the shape {shape}"
        require(value_range and shape == own, ".extractor", extractor, reason, "choose another space")
        self.low, self.high = value_range or (0.0, 1.0)

    def forward(self, sample: Sample) -> Tensor:
        return self.classifier.features((sample.x - self.low) / (self.high - self.low))

    def train(self, mode: bool = True) -> Self:
        return super().train(False)
