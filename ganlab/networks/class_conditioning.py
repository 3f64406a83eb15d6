"""Layers for the classes of samples, and functions that condition the players on these classes.

The condition is the class of each sample, int64 [B]. K is the number of classes.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganlab.core.batch import at_least_float32
from ganlab.core.errors import require
from ganlab.core.players import Networks
from ganlab.networks import base
from ganlab.networks.norms import NORMS, Norm

GeneratorMode = Literal["concat", "embedding", "norm"]
DiscriminatorMode = Literal["concat", "embedding", "projection"]


class EmbeddingTransform(base.InputTransform):
    """Base class of input transforms that represent each class by a vector, learned or one-hot.

    They return the condition unchanged. They return it at all because other input transforms change it: that
    of the trick `virtual_batch_norm` prepends the classes of a reference batch.

    Args:
        size: the number of elements of a learned vector; None: vectors are one-hot, with K elements.
    """

    def __init__(self, num_classes: int, size: int | None = None):
        super().__init__()
        one_hot_vectors = partial(one_hot, num_classes=num_classes)
        self.embedding: Callable[..., Tensor] = nn.Embedding(num_classes, size) if size else one_hot_vectors


class MultiplyByVector(EmbeddingTransform):
    """Multiplies latents [B, latent_dim] by the vectors of their classes, element by element."""

    def forward(self, latent: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return latent * self.embedding(condition), condition


class AppendPlanes(EmbeddingTransform):
    """Appends planes, which are channels that represent the class, to images [B, C, H, W].

    A learned vector has H W elements, which are the pixels of one plane: the result is [B, C + 1, H, W]. Each
    element of a one-hot vector becomes a constant plane: the result is [B, C + K, H, W].
    """

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        plane_shape = (1, *x.shape[2:]) if isinstance(self.embedding, nn.Embedding) else (-1, 1, 1)
        planes = self.embedding(condition).to(x.dtype).unflatten(1, plane_shape)
        return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1), condition


class AppendVector(EmbeddingTransform):
    """Appends the vector of the class to a latent or a flattened sample, [B, D] -> [B, D + E]."""

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x.flatten(1), self.embedding(condition).to(x.dtype)], 1), condition


class ConditionalNorm(base.Conditioned):
    """A normalisation with a gain and a bias for each class (Dumoulin et al. 2017), [B, C, ...] -> the same.

    Args:
        norm: one of `NORMS`; its own gain and bias are removed.
    """

    def __init__(self, norm: nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | Norm, num_classes: int):
        super().__init__()
        channels = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
        norm.weight = norm.bias = None
        self.norm = norm
        self.gain = nn.Embedding(num_classes, channels)
        self.bias = nn.Embedding(num_classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.norm(x)
        shape = (*x.shape[:2], *[1] * (x.ndim - 2))  # [B, C, 1, ...]
        return x * self.gain(condition).view(shape) + self.bias(condition).view(shape)


class Projection(base.Conditioned):
    """A score [B]: the dot product of the features with an embedding of the class (Miyato & Koyama 2018)."""

    def __init__(self, num_classes: int, num_features: int):
        super().__init__()
        self.embedding = nn.Embedding(num_classes, num_features)
        # With the default standard deviation of 1, this score would be much larger than the main score.
        nn.init.normal_(self.embedding.weight, 0, num_features**-0.5)

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
    """Conditions the generator on the classes of the data, in place. Returns the number of classes.

    Args:
        mode: "concat" appends a one-hot vector to the latent, "embedding" multiplies the latent by a learned
            vector, and "norm" gives each norm gains and biases for each class.
    """
    generator, num_classes = networks.generator, networks.num_classes
    assert num_classes is not None
    if mode == "concat":
        base.add_network_inputs(generator.body, num_classes)
        generator.latent_transforms.append(AppendVector(num_classes))
    elif mode == "embedding":
        generator.latent_transforms.append(MultiplyByVector(num_classes, generator.latent_dim))
    else:
        count = base.replace_modules(generator.body, NORMS, lambda norm: ConditionalNorm(norm, num_classes))
        remedy = "choose concat or embedding, or use batch norm and drop trick.normalisation.kind=none"
        require(count, "needs a generator with batch norm", remedy, ".generator", mode)
    generator.condition = networks.condition
    return num_classes


def condition_discriminator(networks: Networks, mode: DiscriminatorMode) -> None:
    """Conditions the discriminator on the classes of the data, in place.

    Args:
        mode: "concat" appends one-hot planes to an image, or a one-hot vector to a point. "embedding" appends
            a learned plane or vector. "projection" adds the score of a `Projection` to the logits.
    """
    discriminator, num_classes = networks.discriminator, networks.num_classes
    assert num_classes is not None
    if mode == "projection":
        discriminator.further_scores.append(Projection(num_classes, discriminator.num_features))
        return
    shape = networks.generator.shape
    is_convolutional = isinstance(base.input_layers(discriminator.body)[0], nn.Conv2d)
    size, num_added = None, num_classes  # one-hot vectors add one input of the layer for each class
    if mode == "embedding":
        # A learned vector has as many elements as one channel of an image [C, H, W], or as a point [D].
        size = prod(shape[1:] or shape)
        num_added = 1 if is_convolutional else size  # a convolution gets the vector as one plane
    base.add_network_inputs(discriminator.body, num_added)
    transform = AppendPlanes if is_convolutional else AppendVector
    discriminator.input_transforms.append(transform(num_classes, size))
