"""Weights that a new network starts from, where they are not those that its layers draw by themselves.

Each of these changes a network in place. `mean` gives the mean training sample, [*shape]; None: data are not
at hand, since the weights will be restored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Positive

WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Uniform:
    """Weights uniform in [-bound, bound], biases zero (Goodfellow et al. 2014)."""

    def __init__(self, bound: Positive):
        self.bound = bound

    @torch.no_grad()
    def __call__(self, network: nn.Module, mean: Callable[[], Tensor] | None) -> None:
        for layer in weighted(network):
            layer.weight.uniform_(-self.bound, self.bound)


class Normal:
    """Weights normal of one deviation, biases zero (the earlier code of Li, Swersky & Zemel 2015: 0.1)."""

    def __init__(self, std: Positive):
        self.std = std

    @torch.no_grad()
    def __call__(self, network: nn.Module, mean: Callable[[], Tensor] | None) -> None:
        for layer in weighted(network):
            layer.weight.normal_(0, self.std)


class FanIn:
    """Weights normal of variance scale / inputs, biases zero (the code of Li, Swersky & Zemel 2015: 0.1)."""

    def __init__(self, scale: Positive):
        self.scale = scale

    @torch.no_grad()
    def __call__(self, network: nn.Module, mean: Callable[[], Tensor] | None) -> None:
        for layer in weighted(network):
            if isinstance(layer, nn.ConvTranspose2d):
                raise ConfigError(
                    "initial: FanIn counts no inputs of a transposed convolution: take "
                    "ganlab.networks.initial.Uniform, or ganlab.networks.mlp.generator"
                )
            layer.weight.normal_(0, math.sqrt(self.scale / layer.weight[0].numel()))


class OutputMean:
    """The last bias such that a generator whose last weights are zero makes the mean training sample.

    Means are kept `margin` away from the ends of the output's range, where the bias would be infinite
    (Goodfellow et al. 2014: 1e-7).
    """

    def __init__(self, margin: Positive):
        self.margin = margin

    @torch.no_grad()
    def __call__(self, network: nn.Module, mean: Callable[[], Tensor] | None) -> None:
        if mean is None:
            return
        layers = [m for m in network.modules() if isinstance(m, (*WEIGHTED, nn.Sigmoid, nn.Tanh))]
        last = next((layer for layer in reversed(layers) if isinstance(layer, WEIGHTED)), None)
        made = mean().double().flatten()  # [D]
        if not isinstance(last, nn.Linear) or last.out_features != len(made):
            raise ConfigError(
                "initial: OutputMean needs a generator that ends in a linear layer with one output for each "
                "value: leave it out, or take ganlab.networks.mlp.generator"
            )
        margin = self.margin
        if isinstance(layers[-1], nn.Sigmoid):
            made = made.clamp(margin, 1 - margin).logit()
        elif isinstance(layers[-1], nn.Tanh):
            made = made.clamp(margin - 1, 1 - margin).atanh()
        last.bias.copy_(made)


def weighted(network: nn.Module) -> Iterator[nn.Linear | nn.Conv2d | nn.ConvTranspose2d]:
    """The linear and convolutional layers, their biases set to zero."""
    for layer in network.modules():
        if isinstance(layer, WEIGHTED):
            if layer.bias is not None:
                layer.bias.zero_()
            yield layer
