"""How a discriminator that tells classes says whether a sample is real."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganlab.turn import accurate


class Evidence(nn.Module):
    """Features [B, F] -> log Z [B, 1], Z = sum_k exp l_k over the logits of K classes.

    Of K + 1 classes, of which the last has the logit 0, D = Z / (Z + 1) = sigmoid(log Z).
    """

    def __init__(self, classes: nn.Module):
        super().__init__()
        self.classes = classes

    def forward(self, features: Tensor) -> Tensor:
        return torch.logsumexp(accurate(self.classes(features)), 1, keepdim=True)
