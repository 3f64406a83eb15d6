"""Fully connected players, among them those of Goodfellow et al. (2014)."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ganlab.core.validation import Count, NonEmpty, Rate, TwoOrMore, ValueRange, Whole, Widths
from ganlab.networks import base
from ganlab.networks.hidden_activations import Activation
from ganlab.networks.priors import Prior


class Maxout(Activation, base.Branching):
    """The maximum of `pieces` linear maps (Goodfellow et al. 2013), [B, num_inputs] -> [B, num_outputs]."""

    def __init__(self, num_inputs: int, num_outputs: int, pieces: int):
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_outputs * pieces)
        self.pieces = pieces

    def branches(self) -> Sequence[nn.Module]:
        return [self.linear]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


def generator(
    latent_dim: Count,
    hidden: Widths,
    *,
    batch_norm: bool,
    slope: float,
    shape: Sequence[int],
    value_range: ValueRange,
    prior: Prior,
) -> base.Generator:
    """A generator: hidden layers with (leaky) ReLU, then a linear layer.

    Args:
        batch_norm: whether each hidden layer has batch norm.
        slope: the slope of leaky ReLU for negative inputs; 0: ReLU.
    """
    layers: list[nn.Module] = []
    widths = [latent_dim, *hidden]
    for num_inputs, num_outputs in pairwise(widths):
        norm = [nn.BatchNorm1d(num_outputs)] if batch_norm else []
        layers += [nn.Linear(num_inputs, num_outputs), *norm, base.relu(slope)]
    layers.append(nn.Linear(widths[-1], prod(shape)))
    layers += [base.output_layer(value_range), nn.Unflatten(1, tuple(shape))]
    return base.Generator(base.ConditionalSequential(*layers), latent_dim, tuple(shape), prior)


def discriminator(
    hidden: NonEmpty[Count],
    *,
    maxout: TwoOrMore | None,
    slope: float,
    dropout: Rate,
    input_dropout: Rate,
    shape: Sequence[int],
    code_dim: Whole = 0,
) -> base.Discriminator:
    """A discriminator: hidden layers, the last of which outputs the features, and a linear score.

    Args:
        maxout: the number of pieces of the hidden layers, which are maxout layers as in Goodfellow et al.
            (2014); None: they are linear layers with leaky ReLU.
        slope: the slope of leaky ReLU for negative inputs.
        dropout: the rate of the dropout after each hidden layer.
        input_dropout: the rate of the dropout on the inputs.
        code_dim: the number of elements of the code that is judged together with a sample, which is that of a
            latent (Dumoulin et al. 2017); 0: samples are judged without codes.
    """
    layers: list[nn.Module] = [nn.Flatten(), *([nn.Dropout(input_dropout)] if input_dropout else [])]
    for sizes in pairwise([prod(shape) + code_dim, *hidden]):  # sizes: the numbers of inputs and outputs
        layers += [Maxout(*sizes, maxout)] if maxout else [nn.Linear(*sizes), nn.LeakyReLU(slope)]
        layers += [nn.Dropout(dropout)] if dropout else []
    network = base.Discriminator(base.ConditionalSequential(*layers), hidden[-1])
    network.code_dim = code_dim
    return network
