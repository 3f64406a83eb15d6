"""Access to the weights of a network, and parametrisations, which compute weights from other tensors."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized

from ganlab.core.errors import ConfigError
from ganlab.networks.base import WEIGHT_LAYERS
from ganlab.networks.salimans2016 import NormalisedLinear


def weight_layers(network: nn.Module) -> Iterator[tuple[nn.Module, int]]:
    """Linear and convolutional layers, each with the dimension of its weight that enumerates the outputs.

    A discriminator's decoder and a generator's encoder are left out, because verdicts and samples do not
    depend on them.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, WEIGHT_LAYERS) and not name.startswith(("decoder.", "encoder.")):
            yield layer, 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def parametrise(layer: nn.Module, make: Callable[..., object], **settings: Any) -> None:
    """Replaces a layer's weight by a parametrisation, in place.

    Args:
        make: a function that adds a parametrisation to a weight, such as
            `torch.nn.utils.parametrizations.spectral_norm`.
        settings: further arguments of `make`.

    Raises:
        ConfigError: the layer divides by the norm of its weights, so that the parametrisation has no effect.
    """
    refuse_normalised(layer)
    make(layer, "weight", **settings)
    parts = cast(nn.ModuleList, layer.get_submodule("parametrizations.weight"))
    parts[0] = FullPrecision(parts[0])


def refuse_normalised(network: nn.Module) -> None:
    """Raises `ConfigError` if the outputs of a layer do not depend on the norm of its weights."""
    if any(isinstance(layer, NormalisedLinear) for layer in network.modules()):
        reason = "has no effect on the layers of model=improved, which divide by the norm of their weights"
        raise ConfigError(reason, "remove the trick, or choose another model, such as model=gan")


def optimised_weight(layer: nn.Module) -> Tensor:
    """The tensor that an optimiser updates to change a layer's weight; under weight norm, the direction."""
    if not is_parametrized(layer, "weight"):
        return cast(Tensor, layer.weight)
    *_, last = layer.get_submodule("parametrizations.weight").parameters(recurse=False)
    return last


def flat_weights(network: nn.Module) -> Tensor:
    """All parameters of a network, concatenated to a vector."""
    return torch.cat([weight.flatten() for weight in network.parameters()])


@torch.no_grad()
def set_singular_vectors(network: nn.Module) -> None:
    """Sets the singular vectors of all spectral norms to those of the current weights.

    This is needed for weights that were not themselves trained, such as averages: with the singular vectors
    of other weights, the estimate of the largest singular value would be too small.
    """
    layers = [layer for layer in network.modules() if is_parametrized(layer, "weight")]
    pairs = [(n, layer) for layer in layers for n in layer.get_submodule("parametrizations.weight").modules()]
    for norm, layer in pairs:
        if isinstance(norm, _SpectralNorm):
            matrix = norm._reshape_weight_to_matrix(optimised_weight(layer))
            # NaN and infinity are reported when the network is used.
            exact = matrix.double().nan_to_num(0, 0, 0)
            tall = len(matrix) > matrix.shape[1]
            _, vectors = torch.linalg.eigh(exact.T @ exact if tall else exact @ exact.T)
            norm._v.copy_(vectors[:, -1] if tall else exact.T @ vectors[:, -1])
            norm._power_method(matrix, 1)  # computes u from v, and normalises both


class FullPrecision(nn.Module):
    """A parametrisation that is computed without autocast.

    Autocast would compute matrix-vector products in half precision, so that a norm had two or three digits.
    """

    def __init__(self, parametrisation: nn.Module):
        super().__init__()
        self.parametrisation = parametrisation

    def forward(self, *weights: Tensor) -> Tensor:
        with torch.autocast(weights[0].device.type, enabled=False):
            return self.parametrisation(*weights)
