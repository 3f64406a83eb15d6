"""Layers through which a class label enters a network. Classes are int64 [B]."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganlab.networks.base import Conditioned


class Embedded(Conditioned):
    """A layer with a learned embedding of the class, `size` numbers each."""

    def __init__(self, num_classes: int, size: int):
        super().__init__()
        self.embedding = nn.Embedding(num_classes, size)


class EmbedLatent(Embedded):
    """Multiplies the latent by a learned embedding of the class."""

    def forward(self, latent: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return latent * self.embedding(condition), condition


class ConcatImage(Conditioned):
    """Appends the class as constant one-hot planes: [B, C, H, W] -> [B, C + K, H, W]."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        planes = one_hot(condition, self.num_classes).to(x.dtype)[:, :, None, None]  # [B, K, 1, 1]
        return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1), condition


class ConcatVector(Conditioned):
    """Appends the class as one-hot columns to flattened samples: [B, ...] -> [B, D + K]."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x.flatten(1), one_hot(condition, self.num_classes).to(x.dtype)], 1), condition


class EmbedImage(Embedded):
    """Appends a learned plane of the class: [B, C, H, W] -> [B, C + 1, H, W]."""

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        planes = self.embedding(condition).view(-1, 1, *x.shape[2:])  # [B, 1, H, W]
        return torch.cat([x, planes.to(x.dtype)], 1), condition


class EmbedVector(Embedded):
    """Appends a learned vector of the class to flattened samples: [B, ...] -> [B, D + E]."""

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x.flatten(1), self.embedding(condition).to(x.dtype)], 1), condition


class ConditionalNorm(Conditioned):
    """A norm followed by a gain and a bias of the class (Dumoulin et al. 2017), [B, C, ...] -> the same."""

    def __init__(self, norm: nn.Module, channels: int, num_classes: int):
        super().__init__()
        self.norm = norm
        self.gain = nn.Embedding(num_classes, channels)
        self.bias = nn.Embedding(num_classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.norm(x)
        shape = (*x.shape[:2], *[1] * (x.ndim - 2))  # [B, C, 1, ...]
        return x * self.gain(condition).view(shape) + self.bias(condition).view(shape)


class Projection(Embedded):
    """The score e(y) . f(x) of a class embedding and the features (Miyato & Koyama 2018), [B]."""

    def __init__(self, num_classes: int, num_features: int):
        super().__init__(num_classes, num_features)
        # As large as the default of a linear score: unit variance would drown the unconditional one.
        nn.init.normal_(self.embedding.weight, 0, num_features**-0.5)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        return (self.embedding(condition) * features).sum(1)
