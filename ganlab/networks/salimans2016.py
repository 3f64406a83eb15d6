"""The fully connected players of Salimans et al. (2016) for MNIST, as in the released code."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.validation import Count, NonEmpty, NotNegative, ValueRange, Widths
from ganlab.networks.base import ConditionalSequential, Discriminator, Generator, output_layer
from ganlab.networks.priors import Prior


class GaussianNoise(nn.Module):
    """Adds normal noise of standard deviation `std` in training, and nothing in evaluation; for any shape."""

    def __init__(self, std: float):
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x) if self.training else x


class NormalisedLinear(nn.Linear):
    """A linear map with weight normalisation, s_j (v_j . x) / |v_j| + b_j (Salimans & Kingma 2016).

    Args:
        initialise: whether the first training batch sets s and b such that the outputs have mean 0 and
            variance 1 over the rows of all processes (section 3). Otherwise the initial values are s = 1 and
            b = 0.
        learn_scale: whether s is trained.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, initialise: bool, learn_scale: bool):
        super().__init__(num_inputs, num_outputs)
        # The length of v_j cancels in the output; it determines how fast the direction of v_j changes.
        nn.init.normal_(self.weight, 0, 0.1)
        nn.init.zeros_(self.bias)
        self.scale = (nn.Parameter if learn_scale else nn.Buffer)(torch.ones(num_outputs))
        self.uninitialised = initialise

    def forward(self, x: Tensor) -> Tensor:
        direction = linear(x, self.weight) / self.weight.norm(dim=1)  # [B, num_outputs]
        if self.uninitialised and self.training:
            self._initialise(direction.detach())
        return direction * self.scale + self.bias

    @torch.no_grad()
    def _initialise(self, direction: Tensor) -> None:
        self.uninitialised = False
        mean = mean_over_ranks(direction.mean(0))  # [num_outputs]
        std = mean_over_ranks((direction - mean).square().mean(0)).sqrt()
        self.scale.copy_(1 / std)
        self.bias.copy_(-mean / std)

    def get_extra_state(self) -> dict[str, bool]:
        return {"waits": self.uninitialised}  # the key in existing checkpoints

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.uninitialised = state["waits"]


def generator(
    latent_dim: Count, hidden: Widths, shape: Sequence[int], value_range: ValueRange, prior: Prior
) -> Generator:
    """A generator: hidden layers with softplus, and a last layer with weight normalisation.

    Each hidden layer has batch norm with a bias, but without a gain.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise([latent_dim, *hidden]):
        dense, norm = nn.Linear(before, after, bias=False), nn.BatchNorm1d(after, eps=1e-6)
        nn.init.xavier_uniform_(dense.weight)
        norm.weight.requires_grad_(False)
        layers += [dense, norm, nn.Softplus()]
    last = NormalisedLinear([latent_dim, *hidden][-1], prod(shape), initialise=False, learn_scale=True)
    nn.init.xavier_uniform_(last.weight)
    layers += [last, output_layer(value_range), nn.Unflatten(1, tuple(shape))]
    return Generator(ConditionalSequential(*layers), latent_dim, tuple(shape), prior)


def discriminator(
    hidden: NonEmpty[Count], input_noise: NotNegative, noise: NotNegative, shape: Sequence[int]
) -> Discriminator:
    """A discriminator of layers with weight normalisation, each with noise on its inputs; ReLU between them.

    The features are the outputs of the last hidden layer, without noise.

    Args:
        input_noise: the standard deviation of the noise on the samples.
        noise: the standard deviation of the noise on the inputs of all other layers.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for i, (before, after) in enumerate(pairwise([prod(shape), *hidden])):
        dense = NormalisedLinear(before, after, initialise=True, learn_scale=False)
        layers += [GaussianNoise(noise if i else input_noise), dense, nn.ReLU()]

    def make_head(num_features: int, num_outputs: int) -> nn.Module:
        dense = NormalisedLinear(num_features, num_outputs, initialise=True, learn_scale=True)
        return nn.Sequential(GaussianNoise(noise), dense)

    return Discriminator(ConditionalSequential(*layers), hidden[-1], make_head)
