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
    """All linear and convolutional layers, each with the dimension of its weight that belongs to the outputs.

    The layers of a discriminator's decoder and of a generator's encoder are left out, because verdicts and
    samples do not depend on them.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, WEIGHT_LAYERS) and not name.startswith(("decoder.", "encoder.")):
            yield layer, 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def parametrise(layer: nn.Module, register: Callable[..., object], **settings: Any) -> None:
    """Parametrises a layer's weight, in place; the parametrisation is computed without autocast.

    Args:
        register: a function such as `torch.nn.utils.parametrizations.spectral_norm`, with these settings.
    """
    refuse_normalised_weights(layer)
    register(layer, "weight", **settings)
    parametrisations = cast(nn.ModuleList, layer.get_submodule("parametrizations.weight"))
    parametrisations[0] = FullPrecision(parametrisations[0])


def refuse_normalised_weights(network: nn.Module) -> None:
    """Raises `ConfigError` for a trick if the outputs of a layer do not depend on the norm of its weights."""
    if any(isinstance(layer, NormalisedLinear) for layer in network.modules()):
        # model=improved, which salimans2016.py builds, is the only model with such layers.
        reason = "has no effect on the layers of model=improved, which divide by the norm of their weights"
        raise ConfigError(reason, "remove the trick, or choose another model, such as model=gan")


def optimised_weight(layer: nn.Module) -> Tensor:
    """The tensor that an optimiser updates to change a layer's weight.

    This is the weight, the weight before spectral norm, or the direction of a weight with weight norm.
    """
    if not is_parametrized(layer, "weight"):
        return cast(Tensor, layer.weight)
    # Spectral norm has one parameter; weight norm has the lengths and then the directions.
    *_, last = layer.get_submodule("parametrizations.weight").parameters(recurse=False)
    return last


def flat_weights(network: nn.Module) -> Tensor:
    """All parameters of a network, concatenated into one vector."""
    return torch.cat([weight.flatten() for weight in network.parameters()])


@torch.no_grad()
def set_singular_vectors(network: nn.Module) -> None:
    """Gives all spectral norms the singular vectors of the current weights.

    This is needed for weights that were not trained themselves, such as averages. With the singular vectors
    of other weights, spectral norm would underestimate the largest singular value.
    """
    layers = [layer for layer in network.modules() if is_parametrized(layer, "weight")]
    for layer in layers:
        for norm in layer.get_submodule("parametrizations.weight").modules():
            if isinstance(norm, _SpectralNorm):
                matrix = norm._reshape_weight_to_matrix(optimised_weight(layer))
                norm._v.copy_(_leading_right_singular_vector(matrix))
                norm._power_method(matrix, 1)  # computes u from v, and normalises both


def _leading_right_singular_vector(matrix: Tensor) -> Tensor:
    """The right singular vector of the largest singular value, [M, N] -> [N]; its length is arbitrary."""
    # NaN and infinity become 0, for which `eigh` does not fail; they are reported when the network is used.
    exact = matrix.double().nan_to_num(0, 0, 0)
    if exact.shape[0] > exact.shape[1]:  # more rows than columns
        return torch.linalg.eigh(exact.T @ exact).eigenvectors[:, -1]  # eigh sorts from small to large
    return exact.T @ torch.linalg.eigh(exact @ exact.T).eigenvectors[:, -1]


class FullPrecision(nn.Module):
    """A parametrisation that is computed without autocast.

    Autocast would compute matrix-vector products in half precision, which gives a norm only two or three
    correct digits.
    """

    def __init__(self, parametrisation: nn.Module):
        super().__init__()
        self.parametrisation = parametrisation

    def forward(self, *weights: Tensor) -> Tensor:
        with torch.autocast(weights[0].device.type, enabled=False):
            return self.parametrisation(*weights)
