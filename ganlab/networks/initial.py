"""Initialisers of weights, which replace the initial weights that layers draw when they are built.

An initialiser changes a network in place. It is called with the network and with `mean`, a function that
returns the mean training sample [*shape]. `mean` is None if a checkpoint will be loaded: then the data may
not be available, and initial weights have no effect.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Positive
from ganlab.networks.base import WEIGHT_LAYERS


class LayerInitialiser(ABC):
    """Base class of initialisers that draw the weights of layers, and set their biases to zero."""

    @torch.no_grad()
    def __call__(self, network: nn.Module, mean: Callable[[], Tensor] | None) -> None:
        for layer in network.modules():
            if isinstance(layer, WEIGHT_LAYERS):
                self.draw(layer)
                if layer.bias is not None:
                    layer.bias.zero_()

    @abstractmethod
    def draw(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Draws the weight of a layer, in place."""


class Uniform(LayerInitialiser):
    """Draws weights uniformly from [-bound, bound], as Goodfellow et al. (2014)."""

    def __init__(self, bound: Positive):
        self.bound = bound

    def draw(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        layer.weight.uniform_(-self.bound, self.bound)


class Normal(LayerInitialiser):
    """Draws weights from N(0, std^2); the earlier code of Li, Swersky & Zemel (2015) has a std of 0.1."""

    def __init__(self, std: Positive):
        self.std = std

    def draw(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        layer.weight.normal_(0, self.std)


class FanIn(LayerInitialiser):
    """Draws weights from N(0, scale / inputs); the code of Li, Swersky & Zemel (2015) has a scale of 0.1.

    Raises:
        ConfigError: a network on which it is called has transposed convolutions.
    """

    def __init__(self, scale: Positive):
        self.scale = scale

    def draw(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        if isinstance(layer, nn.ConvTranspose2d):
            reason = "FanIn does not count the inputs of a transposed convolution"
            raise ConfigError(reason, "choose ganlab.networks.initial.Uniform, or model=gan", key=".")
        layer.weight.normal_(0, math.sqrt(self.scale / layer.weight[0].numel()))


class OutputMean:
    """Sets the last bias of a generator so that with last weights of zero it would generate the mean sample.

    Args:
        margin: the smallest distance of a mean from the ends of the output's range, at which the bias would
            be infinite; Goodfellow et al. (2014) have 1e-7.

    Raises:
        ConfigError: a generator on which it is called does not end in a linear layer.
    """

    def __init__(self, margin: Positive):
        self.margin = margin

    @torch.no_grad()
    def __call__(self, network: nn.Module, mean: Callable[[], Tensor] | None) -> None:
        if mean is None:
            return
        layers = [m for m in network.modules() if isinstance(m, (*WEIGHT_LAYERS, nn.Sigmoid, nn.Tanh))]
        last = next((layer for layer in reversed(layers) if isinstance(layer, WEIGHT_LAYERS)), None)
        bias = mean().double().flatten()  # [D]
        if not isinstance(last, nn.Linear) or last.out_features != len(bias):
            reason = "OutputMean needs a last linear layer with one output for each element of a sample"
            raise ConfigError(reason, "remove it, or choose model=gan", key=".")
        if isinstance(layers[-1], nn.Sigmoid):
            bias = bias.clamp(self.margin, 1 - self.margin).logit()
        elif isinstance(layers[-1], nn.Tanh):
            bias = bias.clamp(self.margin - 1, 1 - self.margin).atanh()
        last.bias.copy_(bias)
