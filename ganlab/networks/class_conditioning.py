"""Layers that condition a network on the classes of samples. A condition is the classes, int64 [B]."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganlab.core.errors import require
from ganlab.core.turn import Networks, at_least_float32
from ganlab.networks.base import Conditioned, InputTransform, add_inputs, input_layer, replace_modules
from ganlab.networks.norms import BATCH_NORMS, VirtualNorm

GeneratorMode = Literal["concat", "embedding", "norm"]
DiscriminatorMode = Literal["concat", "embedding", "projection"]


class EmbeddingTransform(InputTransform):
    """Base class of input transforms with an embedding of the class.

    Args:
        size: the size of a learned embedding, [B] -> [B, size]; None: a one-hot vector, [B] -> [B, K].
    """

    def __init__(self, num_classes: int, size: int | None = None):
        super().__init__()
        self.embedding: Callable[[Tensor], Tensor] = (
            partial(one_hot, num_classes=num_classes) if size is None else nn.Embedding(num_classes, size)
        )


class EmbedLatent(EmbeddingTransform):
    """Multiplies latents [B, latent_dim] by the embedding of the class."""

    def forward(self, latent: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return latent * self.embedding(condition), condition


class AppendPlanes(EmbeddingTransform):
    """Appends a learned plane, or K constant planes, one-hot: [B, C, H, W] -> [B, C + (1 or K), H, W]."""

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        # A learned embedding is a plane of H W elements, a one-hot vector K planes of one element.
        sides = x.shape[2:] if isinstance(self.embedding, nn.Embedding) else (1, 1)
        planes = self.embedding(condition).to(x.dtype).unflatten(1, (-1, *sides))  # [B, 1 or K, ...]
        return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1), condition


class AppendVector(EmbeddingTransform):
    """Appends the embedding of the class, of size E, to flattened samples: [B, ...] -> [B, D + E]."""

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x.flatten(1), self.embedding(condition).to(x.dtype)], 1), condition


class ConditionalNorm(Conditioned):
    """A norm with a gain and a bias for each class (Dumoulin et al. 2017), [B, C, ...] -> the same shape.

    Args:
        norm: the norm that is made conditional; its gain and bias are removed.
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


class Projection(Conditioned):
    """A score, the product e(y) . f(x) of class embedding and features (Miyato & Koyama 2018), [B]."""

    def __init__(self, num_classes: int, num_features: int):
        super().__init__()
        self.embedding = nn.Embedding(num_classes, num_features)
        # The standard deviation keeps the score on the scale of a linear layer's. With embeddings of unit
        # variance it would dominate the unconditional score.
        nn.init.normal_(self.embedding.weight, 0, num_features**-0.5)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        return (self.embedding(condition) * features).sum(1)


def condition_generator(networks: Networks, mode: GeneratorMode) -> int:
    """Conditions the generator on the classes of the data, in place; returns the number of classes.

    Args:
        mode: "concat" appends one-hot columns to the latent, "embedding" multiplies the latent by an
            embedding, and "norm" gives each batch norm (or its replacement) a gain and a bias for each class.

    Raises:
        ConfigError: the mode is "norm", but the generator has no batch norm.
    """
    generator, num_classes = networks.generator, networks.num_classes
    assert num_classes is not None
    if mode == "concat":
        add_inputs(input_layer(generator.body), num_classes)
        generator.latents.append(AppendVector(num_classes))
    elif mode == "embedding":
        generator.latents.append(EmbedLatent(num_classes, generator.latent_dim))
    else:
        norms = (*BATCH_NORMS, VirtualNorm, nn.GroupNorm)
        replaced = replace_modules(generator.body, norms, lambda norm: ConditionalNorm(norm, num_classes))
        remedy = (
            "choose concat or embedding, or model.generator.batch_norm=true without normalisation.kind=none"
        )
        require(replaced, ".generator", mode, "needs a generator with batch norm", remedy)
    generator.num_classes = num_classes
    return num_classes


def condition_discriminator(networks: Networks, mode: DiscriminatorMode) -> None:
    """Conditions the discriminator on the classes of the data, in place.

    Args:
        mode: "concat" appends one-hot planes or columns to the sample, "embedding" a learned plane or vector,
            and "projection" adds the score of a `Projection`.
    """
    discriminator, num_classes = networks.required_discriminator, networks.num_classes
    assert num_classes is not None
    if mode == "projection":
        discriminator.scores.append(Projection(num_classes, discriminator.num_features))
        return
    layer, shape = input_layer(discriminator.body), networks.generator.shape
    size = prod(shape[1:] or shape) if mode == "embedding" else None  # elements of a channel, or of a vector
    if isinstance(layer, nn.Conv2d):
        add_inputs(layer, 1 if size else num_classes)
        discriminator.inputs.append(AppendPlanes(num_classes, size))
    else:
        add_inputs(layer, size or num_classes)
        discriminator.inputs.append(AppendVector(num_classes, size))


class KPlusOneLogit(nn.Module):
    """The real-or-fake logit of a classifier with K + 1 classes, the last of which is "generated".

    Features [B, F] -> log Z [B, 1], with Z = sum_k exp l_k over the logits of the K classes. The logit of the
    last class is fixed at 0, so D = Z / (Z + 1) = sigmoid(log Z) (Salimans et al. 2016, section 5).

    Args:
        class_head: the layer that maps features to the K class logits.
    """

    def __init__(self, class_head: nn.Module):
        super().__init__()
        self.classes = class_head

    def forward(self, features: Tensor) -> Tensor:
        return torch.logsumexp(at_least_float32(self.classes(features)), 1, keepdim=True)
