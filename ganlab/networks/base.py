"""Base classes of generators and discriminators, and the tools with which tricks change their layers."""

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
    """Base class of layers that take (x, condition). Any other layer takes x alone."""


class ConditionalSequential(nn.Sequential, Conditioned):
    """A sequence that passes the condition to its `Conditioned` layers."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, condition) if isinstance(layer, Conditioned) else layer(x)
        return x


class Generator(nn.Module):
    """Latent [B, latent_dim] and condition -> samples [B, *shape].

    Tricks append transforms (latent, condition) -> (latent, condition) to `latents`, change layers of
    `body`, and set `num_classes` if the samples depend on a class. An objective that infers latents from
    samples sets the `encoder`, which is trained as a part of this player.
    """

    def __init__(self, body: ConditionalSequential, latent_dim: int, shape: tuple[int, ...], prior: Prior):
        super().__init__()
        self.latents = nn.ModuleList()
        self.body: nn.Module = body
        self.latent_dim, self.shape, self.prior = latent_dim, shape, prior
        self.num_classes: int | None = None
        self.class_counts: list[int] | None = None  # training samples of each class; None: not known
        self.encoder: nn.Module | None = None

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        for transform in self.latents:
            latent, condition = transform(latent, condition)
        return self.body(latent, condition)

    def encode(self, x: Tensor) -> Tensor:
        """Samples [B, *shape] -> S statistics of their latents, concatenated: [B, S latent_dim].

        They are the code (S = 1), or the means and the log-variances of a normal distribution (S = 2).
        """
        assert self.encoder is not None, "the objective reads codes, but builds no encoder"
        return self.encoder(x)


class Discriminator(nn.Module):
    """Samples [B, *shape] and condition -> Verdict.

    Tricks append transforms (x, condition) -> (x, condition) to `inputs`, replace `score`, append scores
    (features, condition) -> [B] that are added to it to `scores`, or set a head of `classes` or a `decoder`.

    Args:
        body: samples and condition -> features [B, num_features].
        make_head: (num_features, num_outputs) -> the layer that maps features to outputs; None: nn.Linear.
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
        """A new layer of the same kind as the score, features [B, F] -> [B, num_outputs]."""
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
        key: the setting that holds the range, for errors.

    Raises:
        ConfigError: the range is another one.
    """
    layers: dict[ValueRange, type[nn.Module]] = {None: nn.Identity, (-1, 1): nn.Tanh, (0, 1): nn.Sigmoid}
    ends = value_range and (*value_range,)  # a tuple, where a config has a list
    require(ends in layers, key, value_range, "must be [-1,1] or [0,1]")
    return layers[ends]()


def relu(slope: float) -> nn.Module:
    """ReLU, or leaky ReLU if the slope for negative inputs is not 0."""
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def replace_modules(
    root: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...], make: Callable[..., nn.Module]
) -> int:
    """Replaces every module of the given kinds below `root` by `make(module)`; returns their number."""
    children = [(parent, *child) for parent in root.modules() for child in parent.named_children()]
    found = [(parent, name, layer) for parent, name, layer in children if isinstance(layer, kinds)]
    for parent, name, layer in found:
        setattr(parent, name, make(layer))
    return len(found)


def insert_between_layers(body: nn.Module, make: Callable[[int], nn.Module]) -> int:
    """Inserts make(0), make(1), ... before every weight layer but the first; returns their number."""
    first, numbers = input_layer(body), count()

    def prepend(layer: nn.Module) -> nn.Module:
        return layer if layer is first else nn.Sequential(make(next(numbers)), layer)

    replace_modules(body, WEIGHT_LAYERS, prepend)
    return next(numbers)


def input_layer(root: nn.Module) -> nn.Linear | nn.Conv2d:
    """The first linear or convolutional layer, which receives the input.

    Raises:
        ConfigError: the network has none.
    """
    for layer in root.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            return layer
    raise ConfigError("the network has no linear or convolutional layer for a condition to enter")


def add_inputs(layer: nn.Linear | nn.Conv2d, num_inputs: int) -> None:
    """Appends inputs to a layer, in place; their weights are normal, with the deviation of the others."""
    weight = layer.weight.detach()
    new = weight.new_empty(len(weight), num_inputs, *weight.shape[2:]).normal_(0, float(weight.std()))
    layer.weight = nn.Parameter(torch.cat([weight, new], 1))
    if isinstance(layer, nn.Linear):
        layer.in_features += num_inputs
    else:
        layer.in_channels += num_inputs


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Puts a network in evaluation mode for the block, and then back in the mode that it had."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)
