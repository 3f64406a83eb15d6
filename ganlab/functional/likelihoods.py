"""Densities of data around what was made: (x [B, ...], made [B, ...]) -> log p(x | made) [B], in nats."""

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from ganlab.core.errors import ConfigError
from ganlab.core.turn import at_least_float32


class Likelihood(Protocol):
    def __call__(self, x: Tensor, made: Tensor) -> Tensor: ...


class Gaussian:
    """Each value is normal around what was made, with one standard deviation, in units of the data."""

    def __init__(self, std: float):
        self.std = float(std)

    def __call__(self, x: Tensor, made: Tensor) -> Tensor:
        squares = ((at_least_float32(x) - at_least_float32(made)) / self.std).square() / 2
        return -(squares + math.log(self.std * math.sqrt(2 * math.pi))).flatten(1).sum(1)


class Bernoulli:
    """Each value, scaled to [0, 1], is the share of ones of a coin whose probability was made.

    Args:
        value_range: of the data and of what is made.

    Raises:
        ConfigError: the data are unbounded.
    """

    def __init__(self, value_range: tuple[float, float] | None):
        if value_range is None:
            raise ConfigError(
                "objective.likelihood: Bernoulli needs data in a range: choose "
                "ganlab.functional.likelihoods.Gaussian"
            )
        self.low, self.high = value_range

    def __call__(self, x: Tensor, made: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # which has no cross-entropy of probabilities
            cost = binary_cross_entropy(self._unit(made), self._unit(x), reduction="none")
        return -cost.flatten(1).sum(1)

    def _unit(self, x: Tensor) -> Tensor:
        return ((at_least_float32(x) - self.low) / (self.high - self.low)).clamp(0, 1)
