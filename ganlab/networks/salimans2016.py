"""The fully connected players of Salimans et al. (2016) for MNIST, as in the released code."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ganlab.core.distributed import mean_over_processes
from ganlab.core.validation import Count, NonEmpty, NotNegative, ValueRange, Widths
from ganlab.networks.base import ConditionalSequential, Discriminator, Generator, output_layer
from ganlab.networks.priors import Prior


class GaussianNoise(nn.Module):
    """Adds normal noise of standard deviation `std` to inputs of any shape, in training mode only."""

    def __init__(self, std: float):
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x) if self.training else x


class NormalisedLinear(nn.Linear):
    """A linear layer with weight normalisation (Salimans & Kingma 2016).

    Output j for an input x is s_j (v_j . x) / |v_j| + b_j, where v_j is a row of `weight`, s_j an element
    of `scale` and b_j an element of `bias`.

    Args:
        initialise: whether s and b are set by the first training batch, such that the outputs have mean 0 and
            variance 1 over the rows of all processes (section 3). Otherwise s = 1 and b = 0 at first.
        learn_scale: whether s is trained.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, initialise: bool, learn_scale: bool):
        super().__init__(num_inputs, num_outputs)
        # 0.1 matters although outputs do not depend on the length of v_j: training changes the direction of a
        # longer v_j more slowly.
        nn.init.normal_(self.weight, 0, 0.1)
        nn.init.zeros_(self.bias)
        ones = torch.ones(num_outputs)
        self.scale = nn.Parameter(ones) if learn_scale else nn.Buffer(ones)
        self.initialise_at_next_batch = initialise

    def forward(self, x: Tensor) -> Tensor:
        projection = linear(x, self.weight) / self.weight.norm(dim=1)  # (v_j . x) / |v_j|, [B, num_outputs]
        if self.initialise_at_next_batch and self.training:
            self.initialise_at_next_batch = False
            with torch.no_grad():
                mean = mean_over_processes(projection.mean(0))  # [num_outputs]
                std = mean_over_processes((projection - mean).square().mean(0)).sqrt()
                self.scale.copy_(1 / std)
                self.bias.copy_(-mean / std)
        return projection * self.scale + self.bias

    def get_extra_state(self) -> dict[str, bool]:
        return {"waits": self.initialise_at_next_batch}  # existing checkpoints have this key

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.initialise_at_next_batch = state["waits"]


def generator(
    latent_dim: Count, hidden: Widths, shape: Sequence[int], value_range: ValueRange, prior: Prior
) -> Generator:
    """A generator: hidden layers with batch norm and softplus, and a last layer with weight normalisation.

    The gains of batch norm are not trained.
    """
    layers: list[nn.Module] = []
    widths = [latent_dim, *hidden]
    for num_inputs, num_outputs in pairwise(widths):
        dense, norm = nn.Linear(num_inputs, num_outputs, bias=False), nn.BatchNorm1d(num_outputs, eps=1e-6)
        nn.init.xavier_uniform_(dense.weight)
        norm.weight.requires_grad_(False)
        layers += [dense, norm, nn.Softplus()]
    last = NormalisedLinear(widths[-1], prod(shape), initialise=False, learn_scale=True)
    nn.init.xavier_uniform_(last.weight)  # instead of N(0, 0.1^2), which the discriminator's layers keep
    layers += [last, output_layer(value_range), nn.Unflatten(1, tuple(shape))]
    return Generator(ConditionalSequential(*layers), latent_dim, tuple(shape), prior)


def discriminator(
    hidden: NonEmpty[Count], input_noise: NotNegative, noise: NotNegative, shape: Sequence[int]
) -> Discriminator:
    """A discriminator: layers with weight normalisation, with ReLU between them, and noise on all inputs.

    The features are the outputs of the last hidden layer, before noise is added to them.

    Args:
        input_noise: the standard deviation of the noise on the samples, the inputs of the first layer.
        noise: the standard deviation of the noise on the inputs of all other layers.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for i, (num_inputs, num_outputs) in enumerate(pairwise([prod(shape), *hidden])):
        dense = NormalisedLinear(num_inputs, num_outputs, initialise=True, learn_scale=False)
        layers += [GaussianNoise(input_noise if i == 0 else noise), dense, nn.ReLU()]

    def make_head(num_features: int, num_outputs: int) -> nn.Module:
        dense = NormalisedLinear(num_features, num_outputs, initialise=True, learn_scale=True)
        return nn.Sequential(GaussianNoise(noise), dense)

    return Discriminator(ConditionalSequential(*layers), hidden[-1], make_head)
