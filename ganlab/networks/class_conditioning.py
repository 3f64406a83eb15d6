"""Layers for the classes or the vectors of samples, and functions that condition the players on these.

The condition is the class of each sample, int64 [B], or its vector, [B, E]. K is the number of classes.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot

from ganlab.core.batch import ConditionSpec, at_least_float32
from ganlab.core.errors import require
from ganlab.core.players import Networks
from ganlab.networks import base
from ganlab.networks.norms import NORMS, Norm

GeneratorMode = Literal["concat", "embedding", "norm"]
DiscriminatorMode = Literal["concat", "embedding", "projection"]


class LinearEmbedding(nn.Module):
    """A linear map of vectors, [B, E] -> [B, size]. As an embedding, it is no layer that tricks normalise."""

    def __init__(self, num_elements: int, size: int):
        super().__init__()
        # It maps vectors whose elements have variance 1 to such vectors.
        self.weight = nn.Parameter(torch.randn(size, num_elements) * num_elements**-0.5)
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, vectors: Tensor) -> Tensor:
        return linear(vectors, self.weight, self.bias)


def learned_embedding(told: ConditionSpec, size: int) -> nn.Embedding | LinearEmbedding:
    """What represents each class, [B], or each vector, [B, E], by learned numbers, [B, size]."""
    if told.num_classes:
        return nn.Embedding(told.num_classes, size)
    return LinearEmbedding(told.shape[0], size)


class EmbeddingTransform(base.InputTransform):
    """Base class of input transforms that represent each condition by a vector.

    They return the condition unchanged. They return it at all because other input transforms change it: that
    of the trick `virtual_batch_norm` prepends the conditions of a reference batch.

    Args:
        size: the number of elements of a learned vector; None: classes are one-hot, and vectors stay.
    """

    def __init__(self, told: ConditionSpec, size: int | None = None):
        super().__init__()
        self.size = size
        fixed = partial(one_hot, num_classes=told.num_classes) if told.num_classes else nn.Identity()
        self.embedding: Callable[..., Tensor] = learned_embedding(told, size) if size else fixed


class MultiplyByVector(EmbeddingTransform):
    """Multiplies latents [B, latent_dim] by the vectors of their conditions, element by element."""

    def forward(self, latent: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return latent * self.embedding(condition), condition


class AppendPlanes(EmbeddingTransform):
    """Appends planes, which are channels that represent the condition, to images [B, C, H, W].

    A learned vector has H W elements, which are the pixels of one plane: the result is [B, C + 1, H, W]. Each
    element of another vector becomes a constant plane: the result is [B, C + K, H, W], or [B, C + E, H, W].
    """

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        plane_shape = (1, *x.shape[2:]) if self.size else (-1, 1, 1)
        planes = self.embedding(condition).to(x.dtype).unflatten(1, plane_shape)
        return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1), condition


class AppendVector(EmbeddingTransform):
    """Appends the vector of the condition to a latent or a flattened sample, [B, D] -> [B, D + E]."""

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x.flatten(1), self.embedding(condition).to(x.dtype)], 1), condition


class ConditionalNorm(base.Conditioned):
    """A normalisation with a gain and a bias for each class (Dumoulin et al. 2017), [B, C, ...] -> the same.

    Args:
        norm: one of `NORMS`; its own gain and bias are removed.
        told: classes, or vectors, of which gain and bias are linear functions.
    """

    def __init__(self, norm: nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | Norm, told: ConditionSpec):
        super().__init__()
        channels = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
        norm.weight = norm.bias = None
        self.norm = norm
        self.gain, self.bias = learned_embedding(told, channels), learned_embedding(told, channels)
        for layer, value in ((self.gain, 1), (self.bias, 0)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias if isinstance(layer, LinearEmbedding) else layer.weight, value)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.norm(x)
        shape = (*x.shape[:2], *[1] * (x.ndim - 2))  # [B, C, 1, ...]
        return x * self.gain(condition).view(shape) + self.bias(condition).view(shape)


class Projection(base.Conditioned):
    """A score [B]: the product of the features with an embedding of the condition (Miyato & Koyama 2018)."""

    def __init__(self, told: ConditionSpec, num_features: int):
        super().__init__()
        self.embedding = learned_embedding(told, num_features)
        # With a standard deviation of 1, this score would be much larger than the main score.
        nn.init.normal_(self.embedding.weight, 0, (num_features * prod(told.shape)) ** -0.5)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        return (self.embedding(condition) * features).sum(1)


class KPlusOneLogit(nn.Module):
    """The logit of a discriminator that is a classifier of K classes of data and one class of fakes.

    Features [B, num_features] -> log Z [B, 1], where Z = sum_k exp(l_k) over the K class logits l_k. The
    logit of class K + 1, "generated", is 0. So the probability of being real is Z / (Z + 1) = sigmoid(log Z)
    (Salimans et al. 2016, section 5). The trick `semi_supervised` replaces a discriminator's `score` by this
    layer.
    """

    def __init__(self, class_head: nn.Module):
        super().__init__()
        self.class_head = class_head

    def forward(self, features: Tensor) -> Tensor:
        return torch.logsumexp(at_least_float32(self.class_head(features)), 1, keepdim=True)


def condition_generator(networks: Networks, mode: GeneratorMode) -> int:
    """Conditions the generator on the classes or the vectors of the data, in place. Returns K or E.

    Args:
        mode: "concat" appends a one-hot vector or the vector itself to the latent, "embedding" multiplies the
            latent by a learned embedding, and "norm" gives each norm learned gains and biases.
    """
    generator, told = networks.generator, networks.condition
    assert told is not None
    size = told.num_classes or told.shape[0]
    if mode == "concat":
        base.add_network_inputs(generator.body, size)
        generator.latent_transforms.append(AppendVector(told))
    elif mode == "embedding":
        generator.latent_transforms.append(MultiplyByVector(told, generator.latent_dim))
    else:
        count = base.replace_modules(generator.body, NORMS, lambda norm: ConditionalNorm(norm, told))
        remedy = "choose concat or embedding, or use batch norm and drop trick.normalisation.kind=none"
        require(count, "needs a generator with batch norm", remedy, ".generator", mode)
    generator.condition = told
    return size


def condition_discriminator(networks: Networks, mode: DiscriminatorMode) -> None:
    """Conditions the discriminator on the classes or the vectors of the data, in place.

    Args:
        mode: "concat" appends a one-hot vector or the vector itself, to an image as planes. "embedding"
            appends a learned plane or vector. "projection" adds the score of a `Projection` to the logits.
    """
    discriminator, told = networks.discriminator, networks.condition
    assert told is not None
    if mode == "projection":
        discriminator.further_scores.append(Projection(told, discriminator.num_features))
        return
    shape = networks.generator.shape
    is_convolutional = isinstance(base.input_layers(discriminator.body)[0], nn.Conv2d)
    size, num_added = None, told.num_classes or told.shape[0]  # each element is one input of the layer more
    if mode == "embedding":
        # A learned vector has as many elements as one channel of an image [C, H, W], or as a point [D].
        size = prod(shape[1:] or shape)
        num_added = 1 if is_convolutional else size  # a convolution gets the vector as one plane
    base.add_network_inputs(discriminator.body, num_added)
    transform = AppendPlanes if is_convolutional else AppendVector
    discriminator.input_transforms.append(transform(told, size))
