"""Prior distributions of latents."""

import math
from typing import Protocol

from torch import Tensor

from ganlab.core.randomness import RandomSource


class Prior(Protocol):
    """A distribution of latents. Calling it draws n latents of `dim` elements, [n, dim].

    A prior with the attribute `is_round = True` has typical latents on great circles between any two.
    """

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor: ...


def is_round(prior: Prior) -> bool:
    """Whether great circles lead through typical latents of a prior; False unless it says so."""
    return getattr(prior, "is_round", False)


class Normal(Prior):
    """Standard normal latents."""

    is_round = True

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        return random.normal("latent", n, dim)


class TruncatedNormal(Prior):
    """Standard normal latents, under the condition that all elements lie in [-threshold, threshold].

    Drawing each element again and again until it lies in the interval gives the same distribution. If u is
    uniform in (-P, P), where P is the probability of the interval, sqrt(2) erfinv(u) has this distribution.
    """

    is_round = True  # nearly: on a great circle, an element may exceed the threshold by a factor of sqrt(2)

    def __init__(self, threshold: float):
        self.threshold = threshold

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        probability = math.erf(self.threshold / math.sqrt(2))  # P
        uniform = random.uniform("latent", n, dim).mul_(2).sub_(1).mul_(probability)  # u
        return uniform.erfinv_().mul_(math.sqrt(2)).clamp_(-self.threshold, self.threshold)


class Uniform(Prior):
    """Latents whose elements are uniform in `[-bound, bound]`; a bound of sqrt(3) gives unit variance."""

    def __init__(self, bound: float):
        self.bound = bound

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        return random.uniform("latent", n, dim).mul_(2 * self.bound).sub_(self.bound)


class Sphere(Prior):
    """Latents that are uniform on the sphere of radius sqrt(dim).

    Normal latents concentrate near this sphere (White 2016).
    """

    is_round = True

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        latent = random.normal("latent", n, dim)
        return latent * (math.sqrt(dim) / latent.norm(dim=1, keepdim=True))
