"""Prior distributions of latents."""

import math
from typing import Protocol

from torch import Tensor

from ganlab.core.randomness import RandomSource


class Prior(Protocol):
    """A distribution from which n latents are drawn, [n, dim]."""

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor: ...


class Normal:
    """Standard normal latents."""

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        return random.normal("latent", n, dim)


class TruncatedNormal:
    """Normal latents whose elements all lie in [-threshold, threshold], as if redrawn until they do.

    Each element is the inverse of their distribution function at a uniform random number.
    """

    def __init__(self, threshold: float):
        self.threshold = threshold

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        inside = math.erf(self.threshold / math.sqrt(2))
        uniform = random.uniform("latent", n, dim).mul_(2).sub_(1)  # in [-1, 1)
        return uniform.mul_(inside).erfinv_().mul_(math.sqrt(2)).clamp_(-self.threshold, self.threshold)


class Uniform:
    """Latents whose elements are uniform in [-bound, bound]; a bound of sqrt(3) gives unit variance."""

    def __init__(self, bound: float):
        self.bound = bound

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        return random.uniform("latent", n, dim).mul_(2 * self.bound).sub_(self.bound)


class Sphere:
    """Uniform latents on the sphere of radius sqrt(dim), near which normal ones concentrate (White 2016)."""

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        latent = random.normal("latent", n, dim)
        return latent * (math.sqrt(dim) / latent.norm(dim=1, keepdim=True))
