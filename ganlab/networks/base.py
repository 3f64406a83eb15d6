"""Base classes of generators and discriminators, and functions with which tricks change their layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, require
from ganlab.core.turn import Verdict
from ganlab.core.validation import ValueRange
from ganlab.networks.priors import Prior

WEIGHT_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Conditioned(nn.Module):
    """Base class of layers (x, condition) -> output. All other layers take x alone."""


class InputTransform(nn.Module):
    """Base class of the layers before a player's body, (x, condition) -> (x, condition)."""


class ConditionalSequential(nn.Sequential, Conditioned):
    """A sequence of layers that passes the condition to those that are `Conditioned`."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, condition) if isinstance(layer, Conditioned) else layer(x)
        return x


class Generator(nn.Module):
    """The generator: latents [B, latent_dim] and condition -> samples [B, *shape].

    The condition is a class for each sample, int64 [B], or None. Tricks append an `InputTransform` to
    `latents`, change layers of `body`, and set `num_classes` if the samples depend on a class. An objective
    that infers latents from samples sets the `encoder`, which is trained as a part of this player.
    """

    def __init__(self, body: ConditionalSequential, latent_dim: int, shape: tuple[int, ...], prior: Prior):
        super().__init__()
        self.latents = nn.ModuleList()
        self.body: nn.Module = body
        self.latent_dim, self.shape, self.prior = latent_dim, shape, prior
        self.num_classes: int | None = None
        self.class_counts: list[int] | None = None  # training samples in each class; None: unknown
        self.encoder: nn.Module | None = None

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        for transform in self.latents:
            latent, condition = transform(latent, condition)
        return self.body(latent, condition)

    def encode(self, x: Tensor) -> Tensor:
        """S statistics of the latents of samples, concatenated: [B, *shape] -> [B, S latent_dim].

        They are the code (S = 1), or the mean and the log-variance of a normal distribution (S = 2).
        """
        assert self.encoder is not None, "the objective reads codes, but builds no encoder"
        return self.encoder(x)


class Discriminator(nn.Module):
    """The discriminator: samples [B, *shape] and condition, a class for each sample [B] or None -> verdict.

    Tricks append an `InputTransform` to `inputs`, or replace `score`, the layer that maps features to logits.
    They append layers (features, condition) -> [B] to `scores`, whose outputs are added to the logits, or set
    `classes`, a layer that maps features to class logits, or `decoder`.

    Args:
        body: maps samples and condition to features [B, num_features].
        make_head: builds a layer that maps features to outputs, from the numbers of both; None: nn.Linear.
    """

    def __init__(
        self,
        body: ConditionalSequential,
        num_features: int,
        make_head: Callable[[int, int], nn.Module] | None = None,
    ):
        super().__init__()
        self.inputs = nn.ModuleList()
        self.body: nn.Module = body
        self.num_features = num_features
        self.make_head = make_head or nn.Linear
        self.score: nn.Module = self.head(1)
        self.scores = nn.ModuleList()
        self.classes: nn.Module | None = None
        self.decoder: nn.Module | None = None  # features -> samples; verdicts do not depend on it

    def head(self, num_outputs: int) -> nn.Module:
        """A new layer of the same class as the score: features [B, F] -> [B, num_outputs]."""
        return self.make_head(self.num_features, num_outputs)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        for transform in self.inputs:
            x, condition = transform(x, condition)
        features = self.body(x, condition)  # [B, F]
        logits = self.score(features).squeeze(1)  # [B]
        for score in self.scores:
            logits = logits + score(features, condition)
        return Verdict(logits, features, self.classes(features) if self.classes is not None else None)


def output_layer(value_range: ValueRange, key: str = "data.range") -> nn.Module:
    """The last layer of a network: tanh for the range [-1, 1], sigmoid for [0, 1], the identity for None.

    Args:
        key: the key of the setting that holds the range, for errors.

    Raises:
        ConfigError: there is no such layer for the range.
    """
    layers: dict[ValueRange, type[nn.Module]] = {None: nn.Identity, (-1, 1): nn.Tanh, (0, 1): nn.Sigmoid}
    ends = value_range and (*value_range,)  # hashable; a config has a list
    require(ends in layers, key, value_range, "must be [-1,1] or [0,1]")
    return layers[ends]()


def relu(slope: float) -> nn.Module:
    """ReLU, or leaky ReLU if the slope for negative inputs is not 0."""
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def replace_modules(
    root: nn.Module, classes: type[nn.Module] | tuple[type[nn.Module], ...], make: Callable[..., nn.Module]
) -> int:
    """Replaces every module of the given classes below `root` by `make(module)`; returns their number."""
    children = [(parent, *child) for parent in root.modules() for child in parent.named_children()]
    replaced = [(parent, name, layer) for parent, name, layer in children if isinstance(layer, classes)]
    for parent, name, layer in replaced:
        setattr(parent, name, make(layer))
    return len(replaced)


def insert_between_layers(body: nn.Module, make: Callable[[int], nn.Module]) -> int:
    """Inserts make(0), make(1), ... before all layers with weights but the first; returns their number."""
    first, index = input_layer(body), count()

    def prepend(layer: nn.Module) -> nn.Module:
        return layer if layer is first else nn.Sequential(make(next(index)), layer)

    return replace_modules(body, WEIGHT_LAYERS, prepend) - 1


def input_layer(root: nn.Module) -> nn.Linear | nn.Conv2d:
    """The first linear or convolutional layer of a network, which receives its input.

    Raises:
        ConfigError: the network has no such layer.
    """
    for layer in root.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            return layer
    raise ConfigError("the network has no linear or convolutional layer for a condition to enter")


def add_inputs(layer: nn.Linear | nn.Conv2d, num_inputs: int) -> None:
    """Adds inputs to a layer, in place; their weights are normal, with the deviation of the present ones."""
    weight = layer.weight.detach()
    new = weight.new_empty(len(weight), num_inputs, *weight.shape[2:]).normal_(0, float(weight.std()))
    layer.weight = nn.Parameter(torch.cat([weight, new], 1))
    if isinstance(layer, nn.Linear):
        layer.in_features += num_inputs
    else:
        layer.in_channels += num_inputs


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """A context in which a network is in evaluation mode; afterwards its mode is restored."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)
