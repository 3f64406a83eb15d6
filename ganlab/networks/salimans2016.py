"""The fully connected players of Salimans et al. (2016) for MNIST, as in the released code."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.validation import Count, NotNegative, Widths
from ganlab.networks.base import ConditionalSequential, Discriminator, Generator, output_layer
from ganlab.networks.priors import Prior


class GaussianNoise(nn.Module):
    """Gaussian noise of deviation `std` in training, the identity in evaluation; any shape."""

    def __init__(self, std: float):
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x) if self.training else x


class NormalisedLinear(nn.Linear):
    """s_j (v_j . x) / |v_j| + b_j: a linear map with weight normalisation (Salimans & Kingma 2016).

    Args:
        initialise: the first training batch sets s and b such that its outputs have mean 0 and variance 1
            over its rows, on all processes (their section 3); else s = 1 and b = 0.
        learn_scale: whether s is learned; else it stays what it was set to.
    """

    scale: Tensor

    def __init__(self, num_inputs: int, num_outputs: int, initialise: bool, learn_scale: bool):
        super().__init__(num_inputs, num_outputs)
        nn.init.normal_(self.weight, 0, 0.1)  # its length is divided out: it says how fast v_j turns
        nn.init.zeros_(self.bias)
        scale = torch.ones(num_outputs)
        if learn_scale:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)
        self.waits = initialise

    def forward(self, x: Tensor) -> Tensor:
        direction = linear(x, self.weight) / self.weight.norm(dim=1)  # [B, num_outputs]
        if self.waits and self.training:
            self._initialise(direction.detach())
        return direction * self.scale + self.bias

    @torch.no_grad()
    def _initialise(self, direction: Tensor) -> None:
        self.waits = False
        mean = mean_over_ranks(direction.mean(0))  # [num_outputs]
        std = mean_over_ranks((direction - mean).square().mean(0)).sqrt()
        self.scale.copy_(1 / std)
        self.bias.copy_(-mean / std)

    def get_extra_state(self) -> dict[str, bool]:
        return {"waits": self.waits}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.waits = state["waits"]


def generator(
    latent_dim: Count,
    hidden: Widths,
    shape: Sequence[int],
    value_range: tuple[float, float] | None,
    prior: Prior,
) -> Generator:
    """Linear, batch norm without a gain, softplus; the last layer's weights are normalised."""
    layers: list[nn.Module] = []
    for before, after in pairwise([latent_dim, *hidden]):
        dense, norm = nn.Linear(before, after, bias=False), nn.BatchNorm1d(after, eps=1e-6)
        nn.init.xavier_uniform_(dense.weight)
        norm.weight.requires_grad_(False)
        layers += [dense, norm, nn.Softplus()]
    last = NormalisedLinear(hidden[-1] if hidden else latent_dim, prod(shape), False, True)
    nn.init.xavier_uniform_(last.weight)
    layers += [last, output_layer(value_range), nn.Unflatten(1, tuple(shape))]
    return Generator(ConditionalSequential(*layers), latent_dim, tuple(shape), prior)


def discriminator(
    hidden: Annotated[Widths, 1], input_noise: NotNegative, noise: NotNegative, shape: Sequence[int]
) -> Discriminator:
    """ReLU layers of `hidden` widths with normalised weights, and Gaussian noise on the inputs of each.

    The features are those of the last hidden layer, before the noise on its outputs.

    """

    layers: list[nn.Module] = [nn.Flatten()]
    for i, (before, after) in enumerate(pairwise([prod(shape), *hidden])):
        std = noise if i else input_noise
        layers += [GaussianNoise(std), NormalisedLinear(before, after, True, False), nn.ReLU()]

    def head(num_features: int, num_outputs: int) -> nn.Module:
        return nn.Sequential(GaussianNoise(noise), NormalisedLinear(num_features, num_outputs, True, True))

    return Discriminator(ConditionalSequential(*layers), hidden[-1], head)
