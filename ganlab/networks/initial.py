"""Initialisers of weights, which replace the initialisation of the layers themselves.

Each initialiser changes a network in place. It is called with the network and with `mean`, a function that
returns the mean training sample [*shape]; None if the data are not available, since weights will be restored.
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
    """Draws the weights of every linear and convolutional layer, and sets the biases to zero."""

    @torch.no_grad()
    def __call__(self, network: nn.Module, mean: Callable[[], Tensor] | None) -> None:
        for layer in network.modules():
            if isinstance(layer, WEIGHT_LAYERS):
                self.draw(layer)
                if layer.bias is not None:
                    layer.bias.zero_()

    @abstractmethod
    def draw(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Replaces the weight of a layer, in place."""


class Uniform(LayerInitialiser):
    """Weights uniform in [-bound, bound], biases zero (Goodfellow et al. 2014)."""

    def __init__(self, bound: Positive):
        self.bound = bound

    def draw(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        layer.weight.uniform_(-self.bound, self.bound)


class Normal(LayerInitialiser):
    """Weights from N(0, std^2), biases zero (the earlier code of Li, Swersky & Zemel 2015: 0.1)."""

    def __init__(self, std: Positive):
        self.std = std

    def draw(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        layer.weight.normal_(0, self.std)


class FanIn(LayerInitialiser):
    """Weights from N(0, scale / inputs), biases zero (the code of Li, Swersky & Zemel 2015: scale 0.1).

    Raises:
        ConfigError: when called on a network with transposed convolutions.
    """

    def __init__(self, scale: Positive):
        self.scale = scale

    def draw(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
        if isinstance(layer, nn.ConvTranspose2d):
            raise ConfigError(
                "FanIn does not count the inputs of a transposed convolution",
                "choose ganlab.networks.initial.Uniform, or model=gan",
                key=".",
            )
        layer.weight.normal_(0, math.sqrt(self.scale / layer.weight[0].numel()))


class OutputMean:
    """The last bias of a generator, such that with last weights of zero it generates the mean sample.

    Args:
        margin: the least distance of the means from the ends of the output's range, where the bias would be
            infinite (Goodfellow et al. 2014: 1e-7).

    Raises:
        ConfigError: when called on a generator that does not end in a linear layer.
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
