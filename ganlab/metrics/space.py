"""A classifier's features as a space that an objective compares samples in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.turn import Sample
from ganlab.metrics.features import Classifier


class ClassifierFeatures(nn.Module):
    """Sample -> [B, F], not negative; the classifier stays frozen, and in evaluation mode.

    Args:
        extractor: the name of a classifier that lies beside the metrics.
        shape: of a sample.
        value_range: of the data.
    """

    def __init__(self, extractor: str, shape: Sequence[int], value_range: tuple[float, float] | None):
        super().__init__()
        classifier = Classifier.load(extractor)
        if value_range is None or tuple(shape) != classifier.shape:
            raise ConfigError(
                f"objective/space={extractor}: its classifier takes images of shape "
                f"{list(classifier.shape)}, not these data of shape {list(shape)}: choose another space"
            )
        self.classifier = classifier
        self.low, self.high = value_range

    def forward(self, sample: Sample) -> Tensor:
        return self.classifier.features((sample.x - self.low) / (self.high - self.low))

    def train(self, mode: bool = True) -> Self:
        return super().train(False)
