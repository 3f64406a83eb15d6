"""Initialisers, which replace the random weights that the layers of a network have when they are built.

An initialiser changes a network in place. It is called with the network and with `compute_mean`, a function
that returns the mean training sample [*shape]. `compute_mean` is None if a checkpoint will be loaded, because
initial weights then have no effect, and the data may not be available.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Positive
from ganlab.networks.base import WEIGHT_LAYERS


class LayerInitialiser:
    """Base class of initialisers that draw the weight of each layer at random, and set its bias to zero."""

    def __init__(self, draw_weight: Callable[[nn.Linear | nn.Conv2d | nn.ConvTranspose2d], object]):
        self.draw_weight = draw_weight

    @torch.no_grad()
    def __call__(self, network: nn.Module, compute_mean: Callable[[], Tensor] | None) -> None:
        for layer in network.modules():
            if isinstance(layer, WEIGHT_LAYERS):
                self.draw_weight(layer)
                if layer.bias is not None:
                    layer.bias.zero_()


class Uniform(LayerInitialiser):
    """Draws weights uniformly from `[-bound, bound]`, as Goodfellow et al. (2014) do."""

    def __init__(self, bound: Positive):
        super().__init__(lambda layer: layer.weight.uniform_(-bound, bound))


class Normal(LayerInitialiser):
    """Draws weights from N(0, `std`^2).

    An early version of the code of Li, Swersky & Zemel (2015) uses `std` = 0.1.
    """

    def __init__(self, std: Positive):
        super().__init__(lambda layer: layer.weight.normal_(0, std))


class FanIn(LayerInitialiser):
    """Draws weights from N(0, `scale` / n), where n is the number of inputs of each output.

    The last version of the code of Li, Swersky & Zemel (2015) uses `scale` = 0.1. Networks with transposed
    convolutions are refused.
    """

    def __init__(self, scale: Positive):
        def draw_weight(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
            if isinstance(layer, nn.ConvTranspose2d):
                reason = "FanIn does not count the inputs of a transposed convolution"
                raise ConfigError(reason, "choose ganlab.networks.initial.Uniform, or model=gan", key=".")
            num_inputs = layer.weight[0].numel()  # weights [outputs, inputs, ...]
            layer.weight.normal_(0, math.sqrt(scale / num_inputs))

        super().__init__(draw_weight)


class OutputMean:
    """Sets the bias of a generator's last layer, which must be linear.

    With this bias, the generator would generate the mean sample if the weights of the last layer were zero.
    For a mean at an end of the output's range, [0, 1] or [-1, 1], the bias would be infinite. So the mean is
    first moved away from the ends.

    Args:
        margin: the smallest distance of a mean from the ends. Goodfellow et al. (2014) use 1e-7.
    """

    def __init__(self, margin: Positive):
        self.margin = margin

    @torch.no_grad()
    def __call__(self, network: nn.Module, compute_mean: Callable[[], Tensor] | None) -> None:
        if compute_mean is None:
            return
        layers = [m for m in network.modules() if isinstance(m, (*WEIGHT_LAYERS, nn.Sigmoid, nn.Tanh))]
        last_linear = next((layer for layer in reversed(layers) if isinstance(layer, WEIGHT_LAYERS)), None)
        bias = compute_mean().double().flatten()  # [D]
        if not isinstance(last_linear, nn.Linear) or last_linear.out_features != len(bias):
            reason = "OutputMean needs a last linear layer with one output for each element of a sample"
            raise ConfigError(reason, "remove it, or choose model=gan", key=".")
        # If an activation follows the last linear layer, its inverse is applied to the mean.
        if isinstance(layers[-1], nn.Sigmoid):
            bias = bias.clamp(self.margin, 1 - self.margin).logit()
        elif isinstance(layers[-1], nn.Tanh):
            bias = bias.clamp(self.margin - 1, 1 - self.margin).atanh()
        last_linear.bias.copy_(bias)
