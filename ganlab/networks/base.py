"""What a generator and a discriminator are, and how tricks change their layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.turn import Verdict
from ganlab.networks.priors import Prior


class Conditioned(nn.Module):
    """A layer that takes (x, condition); any other layer takes x alone."""


class ConditionalSequential(nn.Sequential, Conditioned):
    """A sequence that hands the condition to the layers which take it."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, condition) if isinstance(layer, Conditioned) else layer(x)
        return x


class Generator(nn.Module):
    """Latent [B, latent_dim] and condition -> samples [B, *shape].

    Tricks append steps (latent, condition) -> (latent, condition) to `latents`, change layers of
    `body`, and set `num_classes` when the samples depend on a class. An objective that reads latents off
    samples gives it an `encoder`, which then is part of this player.
    """

    def __init__(self, body: ConditionalSequential, latent_dim: int, shape: tuple[int, ...], prior: Prior):
        super().__init__()
        self.latents = nn.ModuleList()
        self.body: nn.Module = body
        self.latent_dim = latent_dim
        self.shape = shape
        self.prior = prior
        self.num_classes: int | None = None
        self.class_counts: list[int] | None = None  # how often the training data have each; None: not known
        self.encoder: nn.Module | None = None

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        for step in self.latents:
            latent, condition = step(latent, condition)
        return self.body(latent, condition)

    def encode(self, x: Tensor) -> Tensor:
        """Samples [B, *shape] -> what the encoder says of their latents, [B, S latent_dim], statistic by
        statistic: the code, or the mean and the log-variance of a normal distribution."""
        assert self.encoder is not None, "an objective asked for codes, but builds no encoder"
        codes: Tensor = self.encoder(x)
        return codes


class Discriminator(nn.Module):
    """Samples [B, *shape] and condition -> Verdict.

    Tricks append steps (x, condition) -> (x, condition) to `inputs`, replace `score`, append
    further scores (features, condition) -> [B] to `scores`, or set a head of `classes` or a `decoder`.
    `make_head` makes the last layers, (num_features, num_outputs) -> a layer; None: a linear map.
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
        """A new last layer, features [B, F] -> [B, num_outputs], such as this network's score is."""
        return self.make_head(self.num_features, num_outputs)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        for step in self.inputs:
            x, condition = step(x, condition)
        features = self.body(x, condition)  # [B, F]
        logits = self.score(features).squeeze(1)  # [B]
        for score in self.scores:
            logits = logits + score(features, condition)
        return Verdict(logits, features, self.classes(features) if self.classes is not None else None)


def output_layer(value_range: tuple[float, float] | None, name: str = "data.range") -> nn.Module:
    """The last layer of a network whose outputs lie in a range; None: anywhere. `name` is the setting's.

    Raises:
        ConfigError: a range other than [-1, 1] or [0, 1].
    """
    if value_range is None:
        return nn.Identity()
    layers = {(-1.0, 1.0): nn.Tanh, (0.0, 1.0): nn.Sigmoid}
    low, high = map(float, value_range)
    if (low, high) not in layers:
        raise ConfigError(f"{name}={list(value_range)} must be [-1, 1] or [0, 1]")
    return layers[low, high]()


def relu(slope: float) -> nn.Module:
    """ReLU, or leaky ReLU where negative inputs are to keep a slope."""
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def replace_modules(
    root: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...], make: Callable[..., nn.Module]
) -> int:
    """Replaces every layer of the given kinds below `root` by `make(layer)`; returns how many."""
    swapped = 0
    for parent in list(root.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, kinds):
                setattr(parent, name, make(layer))
                swapped += 1
    return swapped


def input_layer(root: nn.Module) -> nn.Linear | nn.Conv2d:
    """The first layer with weights, the one that sees the input."""
    for layer in root.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            return layer
    raise ConfigError("this network has no linear or convolutional layer that a condition could enter")


def add_inputs(layer: nn.Linear | nn.Conv2d, extra: int) -> None:
    """Gives a layer `extra` more inputs, in place; their weights are drawn like the others' are spread."""
    weight = layer.weight.detach()
    new = weight.new_empty(len(weight), extra, *weight.shape[2:]).normal_(0, float(weight.std()))
    layer.weight = nn.Parameter(torch.cat([weight, new], 1))
    if isinstance(layer, nn.Linear):
        layer.in_features += extra
    else:
        layer.in_channels += extra


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode for a while."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)
