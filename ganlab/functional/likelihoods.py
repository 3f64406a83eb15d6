"""Likelihoods of data given their reconstruction: x, mean [B, ...] -> log p(x | mean) [B], in nats."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from ganlab.core.batch import at_least_float32
from ganlab.core.errors import ConfigError
from ganlab.core.validation import Positive

Likelihood = Callable[[Tensor, Tensor], Tensor]  # data x and their mean -> log p(x | mean) [B]


class Gaussian:
    """Independent normal distributions of all elements around their means; `std` is in units of the data."""

    def __init__(self, std: Positive):
        self.std = float(std)

    def __call__(self, x: Tensor, mean: Tensor) -> Tensor:
        squares = ((at_least_float32(x) - at_least_float32(mean)) / self.std).square() / 2
        return -(squares + math.log(self.std * math.sqrt(2 * math.pi))).flatten(1).sum(1)


class Bernoulli:
    """Independent Bernoulli distributions of all elements, whose means are given.

    log p is minus the sum of the cross-entropies between the elements and their means, both mapped from
    `value_range` to [0, 1]. Unbounded data raise `ConfigError`.
    """

    def __init__(self, value_range: tuple[float, float] | None):
        if value_range is None:
            remedy = "choose ganlab.functional.likelihoods.Gaussian"
            raise ConfigError("Bernoulli needs data in a range", remedy, ".value_range", None)
        self.low, self.high = value_range

    def __call__(self, x: Tensor, mean: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # torch refuses this loss under autocast
            losses = binary_cross_entropy(self._scale(mean), self._scale(x), reduction="none")
        return -losses.flatten(1).sum(1)

    def _scale(self, x: Tensor) -> Tensor:
        return ((at_least_float32(x) - self.low) / (self.high - self.low)).clamp(0, 1)
