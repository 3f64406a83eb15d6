"""What a discriminator that tells classes says of a sample: its class, and whether it is real."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganlab.core.turn import Sample, Turn, at_least_float32


class KPlusOneLogit(nn.Module):
    """Features [B, F] -> log Z [B, 1], Z = sum_k exp l_k over the logits of K classes.

    Of K + 1 classes, of which the last has the logit 0, D = Z / (Z + 1) = sigmoid(log Z).
    """

    def __init__(self, classes: nn.Module):
        super().__init__()
        self.classes = classes

    def forward(self, features: Tensor) -> Tensor:
        return torch.logsumexp(at_least_float32(self.classes(features)), 1, keepdim=True)


def surprise(turn: Turn, sample: Sample) -> Tensor:
    """-log p(y | x) of samples and their classes, [B]."""
    classes = turn.judge(sample).classes
    assert classes is not None
    assert sample.condition is not None
    return cross_entropy(at_least_float32(classes), sample.condition, reduction="none")
