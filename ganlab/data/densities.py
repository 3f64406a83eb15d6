"""Mixtures of Gaussians, whose densities are known."""

from collections.abc import Sequence
from math import log, pi
from typing import Self

import torch
from torch import Tensor


class Mixture:
    """A mixture of M isotropic Gaussians in D dimensions; each of them is a mode.

    Args:
        centres: the means of the Gaussians, [M, D], in the units of the data.
        stds: the standard deviation of each Gaussian along every axis, [M]; positive.
        weights: the probabilities of the Gaussians, up to a common factor, [M]; not negative.
    """

    def __init__(self, centres: Sequence[Sequence[float]], stds: Sequence[float], weights: Sequence[float]):
        self.centres = torch.tensor(centres, dtype=torch.float64)  # [M, D]
        self.stds = torch.tensor(stds, dtype=torch.float64)  # [M]
        self.weights = torch.tensor(weights, dtype=torch.float64) / sum(weights)  # [M]

    @classmethod
    def with_equal_weights(cls, centres: Sequence[Sequence[float]], std: float) -> Self:
        """A mixture of equally likely Gaussians with one standard deviation."""
        return cls(centres, [std] * len(centres), [1.0] * len(centres))

    def part(self, modes: Sequence[int]) -> "Mixture":
        """The mixture of some of the modes, in the given order."""
        return Mixture(*(x[modes].tolist() for x in (self.centres, self.stds, self.weights)))

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws samples, float32 [n, D]; also returns the index of the Gaussian of each, int64 [n]."""
        mode = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.centres.shape[1], generator=generator, dtype=torch.float64)
        return (self.centres[mode] + self.stds[mode, None] * noise).float(), mode

    def mahalanobis(self, x: Tensor) -> Tensor:
        """The distance of each sample to each centre in standard deviations, [N, D] -> [N, M] float64."""
        # |x|^2 - 2 x c + |c|^2 is not used, because its terms cancel where a sample x is close to a centre c.
        difference = x.double()[:, None] - self.centres.to(x.device)  # [N, M, D]
        return difference.square().sum(2).sqrt() / self.stds.to(x.device)

    def log_prob(self, x: Tensor) -> Tensor:
        """The natural logarithm of the density at each sample, [N, D] -> [N] float64."""
        stds, weights = self.stds.to(x.device), self.weights.to(x.device)
        log_normals = -0.5 * self.mahalanobis(x).square() - x.shape[1] * (stds.log() + 0.5 * log(2 * pi))
        return (log_normals + weights.log()).logsumexp(1)
