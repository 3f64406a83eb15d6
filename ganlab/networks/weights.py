"""Weights that are computed from others: which layers have some, and how they are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized

from ganlab.core.errors import ConfigError
from ganlab.networks.initial import WEIGHTED
from ganlab.networks.salimans2016 import NormalisedLinear


def weight_layers(
    network: nn.Module, kinds: tuple[type[nn.Module], ...] = WEIGHTED
) -> Iterator[tuple[nn.Module, int]]:
    """Each layer of some kinds, with the dimension of its weight that counts outputs.

    No verdict and no sample depends on a discriminator's decoder or on a generator's encoder: these are
    left out.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, kinds) and not name.startswith(("decoder.", "encoder.")):
            yield layer, 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def parametrise(layer: nn.Module, make: Callable[..., object], **settings: int) -> None:
    """Lets a parametrisation compute a layer's weight, in place.

    Raises:
        ConfigError: the layer divides by the length of its weights, whatever computes them.
    """
    refuse_normalised(layer)
    make(layer, "weight", **settings)
    parts = cast(nn.ModuleList, layer.get_submodule("parametrizations.weight"))
    parts[0] = FullPrecision(parts[0])


def refuse_normalised(network: nn.Module) -> None:
    """Refuses layers that divide by the length of their weights, to which their outputs are blind."""
    if any(isinstance(layer, NormalisedLinear) for layer in network.modules()):
        raise ConfigError(
            "has no effect on the layers of model=improved, which divide by the norm of their weights",
            "remove the trick, or choose another model, such as model=gan",
        )


def optimised_weight(layer: nn.Module) -> Tensor:
    """The tensor that an optimiser moves where a layer has its weight; of weight norm, the directions."""
    if not is_parametrized(layer, "weight"):
        return cast(Tensor, layer.weight)
    *_, last = layer.get_submodule("parametrizations.weight").parameters(recurse=False)
    return last


def flat_weights(network: nn.Module) -> Tensor:
    """All weights of a network in one row."""
    return torch.cat([weight.flatten() for weight in network.parameters()])


@torch.no_grad()
def set_singular_vectors(network: nn.Module) -> None:
    """Sets the singular vectors of all spectral norms to those of the weights as they are.

    For weights that replaced trained ones, such as averages: the vectors that the power
    method has found in training are none of theirs, and the weight divided by sigma would be too large.
    """
    for name, norm in network.named_modules():
        if isinstance(norm, _SpectralNorm):
            weight = optimised_weight(network.get_submodule(name.split("parametrizations.")[0].rstrip(".")))
            matrix = norm._reshape_weight_to_matrix(weight)
            exact = matrix.double().nan_to_num(0, 0, 0)  # what is not finite is told when it is sampled
            tall = len(matrix) > matrix.shape[1]
            _, vectors = torch.linalg.eigh(exact.T @ exact if tall else exact @ exact.T)
            norm._v.copy_(vectors[:, -1] if tall else exact.T @ vectors[:, -1])
            norm._power_method(matrix, 1)  # u of v, and both of length 1


class FullPrecision(nn.Module):
    """A parametrisation that autocast does not reach.

    It takes matrix-vector products on a GPU to half precision, in which a norm has two or three digits.
    """

    def __init__(self, parametrisation: nn.Module):
        super().__init__()
        self.parametrisation = parametrisation

    def forward(self, *weights: Tensor) -> Tensor:
        with torch.autocast(weights[0].device.type, enabled=False):
            return self.parametrisation(*weights)
