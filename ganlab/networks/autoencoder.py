"""Fully connected autoencoders, that of Li, Swersky & Zemel (2015) among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ganlab.errors import Refused
from ganlab.networks.base import Generator, Layers, output
from ganlab.networks.mlp import check_widths
from ganlab.networks.priors import Prior

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}


class MaskedLinear(nn.Linear):
    """A linear map whose inputs are dropped in training, and whose outputs are scaled by 1 - `rate` else.

    So in the code of Li, Swersky & Zemel (2015), biases and all. torch's dropout scales in training
    instead: with these weights learned at another rate.
    """

    def __init__(self, num_inputs: int, num_outputs: int, rate: float):
        super().__init__(num_inputs, num_outputs)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x * (torch.rand_like(x) >= self.rate))
        return (1 - self.rate) * super().forward(x)


def encoder(
    hidden: Sequence[int],
    activation: str,
    dropout: Sequence[float],
    shape: Sequence[int],
    code_range: tuple[float, float] | None,
    num_outputs: int,
) -> Layers:
    """Samples [B, *shape] -> [B, num_outputs]; `dropout` has a rate for the inputs of each linear layer.

    Raises:
        Refused: a width below 1, an unknown activation, a dropout outside of [0, 1), too few or too many.
    """
    layers = stack("model.encoder", [prod(shape), *hidden, num_outputs], activation, dropout)
    return Layers(nn.Flatten(), *layers, output(code_range, "model.encoder.code_range"))


def decoder(
    latent_dim: int,
    hidden: Sequence[int],
    activation: str,
    shape: Sequence[int],
    value_range: tuple[float, float] | None,
    prior: Prior,
) -> Generator:
    """A generator that mirrors such an encoder.

    Raises:
        Refused: a width below 1, or an unknown activation.
    """
    widths = [latent_dim, *hidden, prod(shape)]
    layers = stack("model.generator", widths, activation, [0.0] * (len(widths) - 1))
    body = Layers(*layers, output(value_range), nn.Unflatten(1, tuple(shape)))
    return Generator(body, latent_dim, tuple(shape), prior)


def stack(name: str, widths: Sequence[int], activation: str, dropout: Sequence[float]) -> list[nn.Module]:
    """Linear layers of these widths, with an activation between two."""
    check_widths(f"{name}.hidden", widths[1:-1])
    if activation not in ACTIVATIONS:
        raise Refused(f"{name}.activation={activation} must be one of {', '.join(ACTIVATIONS)}")
    if len(dropout) != len(widths) - 1 or any(not 0 <= rate < 1 for rate in dropout):
        raise Refused(
            f"{name}.dropout={list(dropout)} must be {len(widths) - 1} rates in [0, 1), one for the "
            "inputs of each layer"
        )
    layers: list[nn.Module] = []
    for (before, after), rate in zip(pairwise(widths), dropout, strict=True):
        layers += [MaskedLinear(before, after, rate) if rate else nn.Linear(before, after)]
        layers += [ACTIVATIONS[activation]()]
    return layers[:-1]


def pretrained(deep: Generator, shallow: Sequence[Generator]) -> Callable[[], None]:
    """What starts a deep autoencoder from shallow ones, the outermost first (Hinton & Salakhutdinov 2006).

    Raises:
        Refused: their linear layers are not those of the deep one.
    """
    if not shallow:
        return lambda: None
    encoders = [layer for part in shallow for layer in linear(part.encoder)]
    decoders = [layer for part in reversed(shallow) for layer in linear(part.body)]
    sources, targets = [*encoders, *decoders], [*linear(deep.encoder), *linear(deep.body)]
    shapes = [[list(layer.weight.shape) for layer in layers] for layers in (sources, targets)]
    if shapes[0] != shapes[1]:
        raise Refused(
            f"pretrained has layers of {shapes[0]}, but this autoencoder {shapes[1]}: let them agree"
        )

    @torch.no_grad()
    def start() -> None:
        for source, target in zip(sources, targets, strict=True):
            target.load_state_dict(source.state_dict())

    return start


def linear(network: nn.Module | None) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)] if network else []
