"""f-divergences as games (Nowozin, Cseke & Tomioka 2016).

D_f(P || Q) = E_Q f(p / q) is the supremum over t of E_P t(x) - E_Q f*(t(x)), where f* is the convex
conjugate of f. The discriminator's logit l reaches the domain of f* through an output activation:
t = g(l), with g increasing, so a larger logit means more real, as everywhere. P is the data, Q the
generator's density, and u = p / q below.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from ganlab.core.schedules import Schedule
from ganlab.core.turn import Player, Turn, at_least_float32
from ganlab.objectives.adversarial import Adversarial, MaxLogit

GeneratorCost = Literal["bound", "output"]


class Divergence(ABC):
    """g and f* of one f, composed by hand so that no exponential is taken of a logarithm."""

    @abstractmethod
    def output(self, logits: Tensor) -> Tensor:
        """g(l), of any shape."""

    @abstractmethod
    def conjugate(self, logits: Tensor) -> Tensor:
        """f*(g(l)), of the same shape."""


class FDivergence(Adversarial):
    """-g(l(x)) + f*(g(l(G(z)))); the generator minimises the bound, -f*(g(l(G(z)))), or -g(l(G(z))).

    `generator_cost` bound is the saddle point (equation 6), whose minimum over the generator is the
    divergence's; output is the alternative of section 3.2, with the same fixed points and, for bounded
    divergences, a slope where the discriminator is sure of the fakes.
    """

    def __init__(
        self, divergence: Divergence, generator_cost: GeneratorCost, weight: Mapping[Player, float | Schedule]
    ):
        super().__init__(weight)
        self.divergence = divergence
        self.generator_cost: GeneratorCost = generator_cost

    def discriminator(self, turn: Turn) -> Tensor:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        return self.divergence.conjugate(fake) - self.divergence.output(real)

    def generator(self, turn: Turn) -> Tensor:
        fake = at_least_float32(turn.on_fake.logits)
        if self.generator_cost == "bound":
            return -self.divergence.conjugate(fake)
        return -self.divergence.output(fake)


class ExponentialDivergence(Divergence):
    """One with exponentials of the logit, none of which is steeper anywhere than where |l| is `max_logit`.

    Beyond, one of g and f* goes on along its tangent, and the other as f* has it: were both held, some l
    would score more than the divergence, and the discriminator would run off to it.
    """

    def __init__(self, max_logit: MaxLogit):
        self.max_logit = max_logit

    def below(self, logits: Tensor) -> Tensor:
        """How far l lies below -max_logit, else 0."""
        return relu(-self.max_logit - logits)

    def above(self, logits: Tensor) -> Tensor:
        """How far l lies above max_logit, else 0."""
        return relu(logits - self.max_logit)


class KullbackLeibler(ExponentialDivergence):
    """KL(P || Q): f(u) = u log u, f*(t) = exp(t - 1), g(l) = l; best at l = 1 + log u.

    For l > m, f* goes on along its tangent: g(l) = m + log(1 + l - m).
    """

    def output(self, logits: Tensor) -> Tensor:
        above = self.above(logits)
        return logits - above + above.log1p()

    def conjugate(self, logits: Tensor) -> Tensor:
        above = self.above(logits)
        return (logits - above - 1).exp() * (1 + above)


class ReverseKullbackLeibler(ExponentialDivergence):
    """KL(Q || P): f(u) = -log u, f*(t) = -1 - log(-t) for t < 0, g(l) = -exp(-l); best at l = log u.

    For l < -m, g goes on along its tangent.
    """

    def output(self, logits: Tensor) -> Tensor:
        below = self.below(logits)
        return -(-logits - below).exp() * (1 + below)

    def conjugate(self, logits: Tensor) -> Tensor:
        below = self.below(logits)
        return logits + below - below.log1p() - 1


class Pearson(Divergence):
    """The integral of (p - q)^2 / q: f(u) = (u - 1)^2, f*(t) = t^2 / 4 + t, g(l) = l; best at l = 2 (u - 1).

    The best l is never below -2, where the bound's slope in l changes sign: below it, -f* would drive the
    generator's samples further off.
    """

    def output(self, logits: Tensor) -> Tensor:
        return logits

    def conjugate(self, logits: Tensor) -> Tensor:
        return logits.square() / 4 + logits


class Neyman(ExponentialDivergence):
    """The integral of (p - q)^2 / p: f(u) = (1 - u)^2 / u, f*(t) = 2 - 2 sqrt(1 - t) for t < 1.

    g(l) = 1 - exp(-l); best at l = 2 log u. For l < -m, g goes on along its tangent.
    """

    def output(self, logits: Tensor) -> Tensor:
        below = self.below(logits)
        return 1 - (-logits - below).exp() * (1 + below)

    def conjugate(self, logits: Tensor) -> Tensor:
        below = self.below(logits)
        return 2 - 2 * ((-logits - below) / 2).exp() * (1 + below).sqrt()


class SquaredHellinger(ExponentialDivergence):
    """The integral of (sqrt p - sqrt q)^2: f(u) = (sqrt u - 1)^2, f*(t) = t / (1 - t) for t < 1.

    g(l) = 1 - exp(-l); best at l = log(u) / 2. For l < -m, g goes on along its tangent; for l > m, f* does.
    """

    def output(self, logits: Tensor) -> Tensor:
        below, above = self.below(logits), self.above(logits)
        return 1 - (above - below - logits).exp() * (1 + below) / (1 + above)

    def conjugate(self, logits: Tensor) -> Tensor:
        below, above = self.below(logits), self.above(logits)
        return (logits + below - above).exp() * (1 + above) / (1 + below) - 1


class JensenShannon(Divergence):
    """KL(P || M) + KL(Q || M) with M = (P + Q) / 2, twice the Jensen-Shannon divergence.

    f(u) = u log u - (u + 1) log((u + 1) / 2), f*(t) = -log(2 - exp t) for t < log 2,
    g(l) = log 2 - log(1 + exp(-l)); best at l = log u. Minimax with the constant 2 log 2 added.
    """

    def output(self, logits: Tensor) -> Tensor:
        return math.log(2) - softplus(-logits)

    def conjugate(self, logits: Tensor) -> Tensor:
        return softplus(logits) - math.log(2)


class TotalVariation(Divergence):
    """Half the integral of |p - q|: f(u) = |u - 1| / 2, f*(t) = t for |t| <= 1/2, g(l) = tanh(l) / 2.

    Best at l = +-infinity: the game of absolute errors with D = sigmoid(2 l), which is how tanh is
    computed, for its slope is not rounded away at negative l.
    """

    def output(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(2 * logits) - 0.5

    conjugate = output
