"""Fully connected autoencoders, among them that of Li, Swersky & Zemel (2015)."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from ganlab.core.errors import UNSET, require
from ganlab.core.validation import Count, Rate, ValueRange, Widths
from ganlab.networks.base import ConditionalSequential, Generator, output_layer
from ganlab.networks.priors import Prior

Activation = Literal["relu", "sigmoid"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


class DropoutLinear(nn.Linear):
    """A linear layer with dropout on its inputs; in evaluation its outputs are multiplied by 1 - rate.

    This is dropout in the code of Li, Swersky & Zemel (2015), which scales the biases too. torch's dropout
    instead divides the inputs by 1 - rate in training, so that the weights would change at a different rate.

    Args:
        rate: the probability of dropping an input.
    """

    def __init__(self, num_inputs: int, num_outputs: int, rate: float):
        super().__init__(num_inputs, num_outputs)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x * (torch.rand_like(x) >= self.rate))
        return (1 - self.rate) * super().forward(x)


def encoder(
    hidden: Widths,
    activation: Activation,
    dropout: Sequence[Rate],
    shape: Sequence[int],
    code_range: ValueRange,
    num_outputs: int,
) -> ConditionalSequential:
    """An encoder: samples [B, *shape] -> [B, num_outputs].

    Args:
        hidden: the widths of the hidden layers.
        dropout: a rate for the inputs of each linear layer.
        code_range: the range of the outputs: [-1, 1], [0, 1], or None for any.

    Raises:
        ConfigError: too few or too many rates.
    """
    layers = dense_layers([prod(shape), *hidden, num_outputs], activation, dropout)
    return ConditionalSequential(nn.Flatten(), *layers, output_layer(code_range, ".code_range"))


def decoder(
    latent_dim: Count,
    hidden: Widths,
    activation: Activation,
    shape: Sequence[int],
    value_range: ValueRange,
    prior: Prior,
) -> Generator:
    """A generator of fully connected layers, without dropout.

    Args:
        hidden: the widths of the hidden layers; those of the encoder in reverse order.
        value_range: the range of the samples: [-1, 1], [0, 1], or None for any.
    """
    widths = [latent_dim, *hidden, prod(shape)]
    layers = dense_layers(widths, activation, [0.0] * (len(widths) - 1))
    body = ConditionalSequential(*layers, output_layer(value_range), nn.Unflatten(1, tuple(shape)))
    return Generator(body, latent_dim, tuple(shape), prior)


def dense_layers(widths: Sequence[int], activation: Activation, dropout: Sequence[float]) -> list[nn.Module]:
    """Linear layers of these widths, with dropout on their inputs, and an activation between two layers.

    Raises:
        ConfigError: the number of rates is not that of the layers.
    """
    reason = f"needs {len(widths) - 1} rates, one for the inputs of each layer"
    require(len(dropout) == len(widths) - 1, ".dropout", list(dropout), reason)
    layers: list[nn.Module] = []
    for (before, after), rate in zip(pairwise(widths), dropout, strict=True):
        layers += [DropoutLinear(before, after, rate) if rate else nn.Linear(before, after)]
        layers += [ACTIVATIONS[activation]()]
    return layers[:-1]


def pretrained_initialiser(deep: Generator, shallow: Sequence[Generator]) -> Callable[[], None]:
    """A function that copies the weights of trained shallow autoencoders to a deep one.

    This is the initialisation of Hinton & Salakhutdinov (2006).

    Args:
        deep: the autoencoder that is initialised.
        shallow: autoencoders whose linear layers are those of the deep one, the outermost first; if there
            are none, the function does nothing.

    Raises:
        ConfigError: the shapes of their linear layers differ from those of the deep one.
    """
    if not shallow:
        return lambda: None
    encoders = [layer for part in shallow for layer in linear_layers(part.encoder)]
    decoders = [layer for part in reversed(shallow) for layer in linear_layers(part.body)]
    sources, targets = [*encoders, *decoders], [*linear_layers(deep.encoder), *linear_layers(deep.body)]
    source_shapes, target_shapes = ([list(m.weight.shape) for m in part] for part in (sources, targets))
    reason = f"has layers of shapes {source_shapes}, but this autoencoder has {target_shapes}"
    require(source_shapes == target_shapes, ".pretrained", UNSET, reason, "make them agree")

    @torch.no_grad()
    def copy_weights() -> None:
        for source, target in zip(sources, targets, strict=True):
            target.load_state_dict(source.state_dict())

    return copy_weights


def linear_layers(network: nn.Module | None) -> list[nn.Linear]:
    """The linear layers of a network, the input's first; none if there is no network."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)] if network else []
