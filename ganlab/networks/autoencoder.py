"""Fully connected autoencoders, among them that of Li, Swersky & Zemel (2015)."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from ganlab.core.errors import require
from ganlab.core.players import Networks
from ganlab.core.validation import Count, Rate, ValueRange, Widths
from ganlab.networks.base import ConditionalSequential, Encoder, Generator, output_layer
from ganlab.networks.priors import Prior

Activation = Literal["relu", "sigmoid"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


class DropoutLinear(nn.Linear):
    """A linear layer with dropout on its inputs. In evaluation mode it multiplies its outputs by 1 - rate.

    The code of Li, Swersky & Zemel (2015) has this dropout, which scales the biases too. torch's dropout
    scales the inputs by 1 / (1 - rate) in training mode instead, so gradients would differ by that factor.
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
) -> Encoder:
    """An encoder: samples [B, *shape] -> [B, num_outputs].

    Args:
        dropout: the rates of dropout on the inputs of each linear layer, one for each.
        code_range: the range of the outputs, [-1, 1] or [0, 1]; None: unbounded.
    """
    layers = dense_layers([prod(shape), *hidden, num_outputs], activation, dropout)
    body = ConditionalSequential(nn.Flatten(), *layers, output_layer(code_range, ".code_range"))
    return Encoder(body, num_outputs)


def decoder(
    latent_dim: Count,
    hidden: Widths,
    activation: Activation,
    shape: Sequence[int],
    value_range: ValueRange,
    prior: Prior,
) -> Generator:
    """A generator of fully connected layers, without dropout. Its settings are like those of `encoder`."""
    layers = dense_layers([latent_dim, *hidden, prod(shape)], activation, dropout=[0.0] * (len(hidden) + 1))
    body = ConditionalSequential(*layers, output_layer(value_range), nn.Unflatten(1, tuple(shape)))
    return Generator(body, latent_dim, tuple(shape), prior)


def dense_layers(widths: Sequence[int], activation: Activation, dropout: Sequence[float]) -> list[nn.Module]:
    """Linear layers with an activation between each two.

    Args:
        widths: the number of inputs, followed by the number of outputs of each linear layer.
    """
    reason = f"needs {len(widths) - 1} rates, one for the inputs of each layer"
    require(len(dropout) == len(widths) - 1, reason, key=".dropout", value=list(dropout))
    layers: list[nn.Module] = []
    for sizes, rate in zip(pairwise(widths), dropout, strict=True):
        layers += [DropoutLinear(*sizes, rate) if rate else nn.Linear(*sizes), ACTIVATIONS[activation]()]
    return layers[:-1]  # no activation after the last linear layer


def pretrained_initialiser(deep: Networks, shallow: Sequence[Networks]) -> Callable[[], None]:
    """Returns a function that copies the weights of trained shallow autoencoders into a deep autoencoder.

    This is the initialisation of Hinton & Salakhutdinov (2006).

    Args:
        shallow: the networks of the shallow autoencoders, the outermost first. The deep autoencoder has all
            their layers. If there are none, the function does nothing.

    Raises:
        ConfigError: the shapes of the layers do not agree.
    """
    sources = [layer for autoencoder in shallow for layer in linear_layers(autoencoder["encoder"])]
    sources += [layer for autoencoder in reversed(shallow) for layer in linear_layers(autoencoder.generator)]
    targets = linear_layers(deep["encoder"]) + linear_layers(deep.generator)
    source_shapes = [list(layer.weight.shape) for layer in sources]
    target_shapes = [list(layer.weight.shape) for layer in targets]
    reason = f"has layers of shapes {source_shapes}, but this autoencoder has {target_shapes}"
    require(source_shapes == target_shapes, reason, "make them agree", ".pretrained")

    def copy_weights() -> None:
        nn.ModuleList(targets).load_state_dict(nn.ModuleList(sources).state_dict())

    return copy_weights


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The linear layers of a network, from its input to its output."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
