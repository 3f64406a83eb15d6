"""Distributions of which everything is known, and what the best of all discriminators would say of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Self

import torch
from torch import Tensor

LOG_2_PI = log(2 * pi)


class Mixture:
    """Isotropic Gaussians with centres [M, D], deviations [M] and probabilities [M]; each is a mode.

    Args:
        centres: in the units of the data.
        stds: of each Gaussian, along each axis; positive.
        weights: their probabilities, up to a factor; not negative.
    """

    def __init__(self, centres: Sequence[Sequence[float]], stds: Sequence[float], weights: Sequence[float]):
        assert len(centres) == len(stds) == len(weights)
        self.centres = torch.tensor(centres, dtype=torch.float64)  # [M, D]
        self.stds = torch.tensor(stds, dtype=torch.float64)  # [M]
        self.weights = torch.tensor(weights, dtype=torch.float64) / sum(weights)  # [M]

    @classmethod
    def equal(cls, centres: Sequence[Sequence[float]], std: float) -> Self:
        """Equally likely Gaussians of one deviation."""
        return cls(centres, [std] * len(centres), [1.0] * len(centres))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Samples, float32 [n, D]."""
        return self.sample_with_modes(n, generator)[0]

    def sample_with_modes(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples, float32 [n, D], and which Gaussian each is of, int64 [n]."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.centres.shape[1], generator=generator, dtype=torch.float64)
        return (self.centres[component] + self.stds[component, None] * noise).float(), component

    def mahalanobis(self, x: Tensor) -> Tensor:
        """How many deviations lie between samples [N, D] and each centre (Mahalanobis), float64 [N, M]."""
        # A product of matrices would lose what two near points differ by.
        gap = x.double()[:, None] - self.centres.to(x.device)  # [N, M, D]
        return gap.square().sum(2).sqrt() / self.stds.to(x.device)

    def log_prob(self, x: Tensor) -> Tensor:
        """The logarithm of the density at x [N, D], in nats, float64 [N]."""
        stds, weights = self.stds.to(x.device), self.weights.to(x.device)
        normal = -0.5 * self.mahalanobis(x).square() - x.shape[1] * (stds.log() + 0.5 * LOG_2_PI)  # [N, M]
        return (normal + weights.log()).logsumexp(1)


def optimal_discriminator(log_p: Tensor, log_q: Tensor) -> Tensor:
    """p / (p + q), where data have density p and fakes q (Goodfellow et al. 2014, proposition 1)."""
    return (log_p - log_q).sigmoid()


def oracle_accuracy(log_p: Tensor, log_q: Tensor) -> Tensor:
    """max(p, q) / (p + q): how often at x the guess is right that a sample is of the denser class.

    Both classes are equally likely. 1/2 where they cannot be told apart, 1 where only one is found.
    """
    return (log_p - log_q).abs().sigmoid()
