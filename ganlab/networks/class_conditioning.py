"""Layers that condition a network on classes, and losses of classifiers. Classes are int64 [B]."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from ganlab.core.errors import require
from ganlab.core.turn import Sample, Turn, at_least_float32
from ganlab.networks.base import Conditioned, Generator, add_inputs, input_layer, replace_modules
from ganlab.networks.norms import BATCH_NORMS, VirtualNorm

GeneratorMode = Literal["concat", "embedding", "norm"]


class Embedded(Conditioned):
    """Base class of layers with a learned embedding of the class, [B] -> [B, size]."""

    def __init__(self, num_classes: int, size: int):
        super().__init__()
        self.embedding = nn.Embedding(num_classes, size)


class EmbedLatent(Embedded):
    """Multiplies the latent by a learned embedding of the class."""

    def forward(self, latent: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return latent * self.embedding(condition), condition


class OneHot(Conditioned):
    """Base class of layers with a one-hot code of the class."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes


class ConcatImage(OneHot):
    """Appends the class as constant one-hot planes: [B, C, H, W] -> [B, C + K, H, W]."""

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        planes = one_hot(condition, self.num_classes).to(x.dtype)[:, :, None, None]  # [B, K, 1, 1]
        return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1), condition


class ConcatVector(OneHot):
    """Appends the class as one-hot columns to flattened samples: [B, ...] -> [B, D + K]."""

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
    """A norm with a gain and a bias for each class (Dumoulin et al. 2017), [B, C, ...] -> the same shape.

    Args:
        norm: loses its own gain and bias.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d | VirtualNorm | nn.GroupNorm, num_classes: int):
        super().__init__()
        assert norm.weight is not None
        channels = len(norm.weight)
        norm.weight = norm.bias = None  # type: ignore[assignment]
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
        # The scale of a linear score: with unit variance this score would dominate the unconditional one.
        nn.init.normal_(self.embedding.weight, 0, num_features**-0.5)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        return (self.embedding(condition) * features).sum(1)


def condition_generator(generator: Generator, mode: GeneratorMode, num_classes: int) -> None:
    """Conditions a generator on classes, in place.

    Args:
        mode: "concat" appends one-hot columns to the latent, "embedding" multiplies the latent by an
            embedding, and "norm" gives each batch norm (or its replacement) a gain and a bias of the class.

    Raises:
        ConfigError: the mode is "norm", but the generator has no batch norm.
    """
    if mode == "concat":
        add_inputs(input_layer(generator.body), num_classes)
        generator.latents.append(ConcatVector(num_classes))
    elif mode == "embedding":
        generator.latents.append(EmbedLatent(num_classes, generator.latent_dim))
    else:
        kinds = (*BATCH_NORMS, VirtualNorm, nn.GroupNorm)
        found = replace_modules(generator.body, kinds, lambda norm: ConditionalNorm(norm, num_classes))
        remedy = (
            "choose concat or embedding, or model.generator.batch_norm=true without normalisation.kind=none"
        )
        require(found, ".generator", mode, "needs a generator with batch norm", remedy)
    generator.num_classes = num_classes


class KPlusOneLogit(nn.Module):
    """The logit of "real" of a classifier with K + 1 classes, the last of which is "generated".

    Features [B, F] -> log Z [B, 1], with Z = sum_k exp l_k over the logits of the K classes. The logit of the
    last class is fixed at 0, so D = Z / (Z + 1) = sigmoid(log Z) (Salimans et al. 2016, section 5).
    """

    def __init__(self, classes: nn.Module):
        super().__init__()
        self.classes = classes

    def forward(self, features: Tensor) -> Tensor:
        return torch.logsumexp(at_least_float32(self.classes(features)), 1, keepdim=True)


def class_cross_entropy(turn: Turn, sample: Sample) -> Tensor:
    """-log p(y | x) of samples and their classes, [B]."""
    classes = turn.judge(sample).classes
    assert classes is not None
    assert sample.condition is not None
    return cross_entropy(at_least_float32(classes), sample.condition, reduction="none")
