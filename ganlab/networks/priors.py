"""Prior distributions of latents, as functions of random numbers, n and dim -> latents [n, dim]."""

import math
from typing import Protocol

from torch import Tensor

from ganlab.core.randomness import RandomSource


class Prior(Protocol):
    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor: ...


class Normal:
    """Standard normal latents."""

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        return random.normal("latent", n, dim)


class TruncatedNormal:
    """Normal latents whose elements all lie in [-threshold, threshold], as if redrawn until they do.

    Each is the inverse of the normal distribution function at a uniform number.
    """

    def __init__(self, threshold: float):
        self.threshold = threshold

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        inside = math.erf(self.threshold / math.sqrt(2))
        uniform = random.uniform("latent", n, dim).mul_(2).sub_(1)  # in [-1, 1)
        return uniform.mul_(inside).erfinv_().mul_(math.sqrt(2)).clamp_(-self.threshold, self.threshold)


class Uniform:
    """Uniform latents in [-bound, bound]; a bound of sqrt(3) gives unit variance."""

    def __init__(self, bound: float):
        self.bound = bound

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        return random.uniform("latent", n, dim).mul_(2 * self.bound).sub_(self.bound)


class Sphere:
    """Uniform latents on the sphere of radius sqrt(dim), where normal ones concentrate (White 2016)."""

    def __call__(self, random: RandomSource, n: int, dim: int) -> Tensor:
        latent = random.normal("latent", n, dim)
        return latent * (math.sqrt(dim) / latent.norm(dim=1, keepdim=True))
