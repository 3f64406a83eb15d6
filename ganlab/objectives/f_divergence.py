"""f-divergences as adversarial objectives (Nowozin, Cseke & Tomioka 2016).

D_f(P || Q) = E_Q f(p / q) is the supremum over functions t of E_P t(x) - E_Q f*(t(x)), where f* is the
convex conjugate of f. P is the distribution of the data with density p, Q that of the generator with density
q, and u = p / q. The function t is t = g(l), where the output activation g maps the discriminator's logit l
to the domain of f*. It is increasing, so larger logits mean "more real", as in all objectives.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from ganlab.core.turn import Turn, at_least_float32
from ganlab.objectives.adversarial import Adversarial, MaxLogit
from ganlab.objectives.base import LossWeights

GeneratorCost = Literal["bound", "output"]


class Divergence(ABC):
    """Base class of divergences: g, and f* composed with g, which avoids exponentials of logarithms."""

    @abstractmethod
    def output(self, logits: Tensor) -> Tensor:
        """g(l), of the shape of l."""

    @abstractmethod
    def conjugate(self, logits: Tensor) -> Tensor:
        """f*(g(l)), of the shape of l."""


class FDivergence(Adversarial):
    """The discriminator minimises -g(l(x)) + f*(g(l(G(z)))), the negative lower bound of the divergence.

    Args:
        generator_cost: the generator's loss. "bound" is -f*(g(l(G(z)))), as in the saddle point problem of
            equation 6, in which the generator minimises the divergence itself. "output" is -g(l(G(z)))
            (section 3.2), which has the same fixed points. For bounded divergences, only "output" has a slope
            where the discriminator is certain that a sample is fake.
    """

    def __init__(self, divergence: Divergence, generator_cost: GeneratorCost, weight: LossWeights):
        super().__init__(weight)
        self.divergence, self.generator_cost = divergence, generator_cost

    def discriminator(self, turn: Turn) -> Tensor:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        return self.divergence.conjugate(fake) - self.divergence.output(real)

    def generator(self, turn: Turn) -> Tensor:
        function = self.divergence.conjugate if self.generator_cost == "bound" else self.divergence.output
        return -function(at_least_float32(turn.on_fake.logits))


class ExponentialDivergence(Divergence):
    """Base class of divergences whose g or f* is exponential in the logit.

    Where |l| > m, the exponential is replaced by its tangent at |l| = m, so its slope is bounded. Only one of
    g and f* is replaced; the other is recomputed to match. If both were replaced, some l would score more
    than the divergence, and the discriminator would diverge towards it.

    Args:
        max_logit: m in the formulas.
    """

    def __init__(self, max_logit: MaxLogit):
        self.max_logit = max_logit

    def excess_below(self, logits: Tensor) -> Tensor:
        """The distance of l below -m, max(0, -m - l)."""
        return relu(-self.max_logit - logits)

    def excess_above(self, logits: Tensor) -> Tensor:
        """The distance of l above m, max(0, l - m)."""
        return relu(logits - self.max_logit)


class KullbackLeibler(ExponentialDivergence):
    """KL(P || Q): f(u) = u log u, f*(t) = exp(t - 1), g(l) = l. The optimal l is 1 + log u.

    For l > m, f*(g(l)) is its tangent at m, and g(l) = m + log(1 + l - m).
    """

    def output(self, logits: Tensor) -> Tensor:
        above = self.excess_above(logits)
        return logits - above + above.log1p()

    def conjugate(self, logits: Tensor) -> Tensor:
        above = self.excess_above(logits)
        return (logits - above - 1).exp() * (1 + above)


class ReverseKullbackLeibler(ExponentialDivergence):
    """KL(Q || P): f(u) = -log u, f*(t) = -1 - log(-t) for t < 0, g(l) = -exp(-l). The optimal l is log u.

    For l < -m, g is its tangent at -m.
    """

    def output(self, logits: Tensor) -> Tensor:
        below = self.excess_below(logits)
        return -(-logits - below).exp() * (1 + below)

    def conjugate(self, logits: Tensor) -> Tensor:
        below = self.excess_below(logits)
        return logits + below - below.log1p() - 1


class Pearson(Divergence):
    """The integral of (p - q)^2 / q: f(u) = (u - 1)^2, f*(t) = t^2 / 4 + t, g(l) = l.

    The optimal l is 2 (u - 1), so at least -2. Below -2 the slope of f* in l is negative, and the generator
    cost "bound" would push samples away from the data.
    """

    def output(self, logits: Tensor) -> Tensor:
        return logits

    def conjugate(self, logits: Tensor) -> Tensor:
        return logits.square() / 4 + logits


class Neyman(ExponentialDivergence):
    """The integral of (p - q)^2 / p: f(u) = (1 - u)^2 / u, f*(t) = 2 - 2 sqrt(1 - t) for t < 1.

    g(l) = 1 - exp(-l). The optimal l is 2 log u. For l < -m, g is its tangent at -m.
    """

    def output(self, logits: Tensor) -> Tensor:
        below = self.excess_below(logits)
        return 1 - (-logits - below).exp() * (1 + below)

    def conjugate(self, logits: Tensor) -> Tensor:
        below = self.excess_below(logits)
        return 2 - 2 * ((-logits - below) / 2).exp() * (1 + below).sqrt()


class SquaredHellinger(ExponentialDivergence):
    """The integral of (sqrt p - sqrt q)^2: f(u) = (sqrt u - 1)^2, f*(t) = t / (1 - t) for t < 1.

    g(l) = 1 - exp(-l). The optimal l is log(u) / 2. For l < -m, g is its tangent at -m; for l > m, f*(g(l))
    is its tangent at m.
    """

    def output(self, logits: Tensor) -> Tensor:
        below, above = self.excess_below(logits), self.excess_above(logits)
        return 1 - (above - below - logits).exp() * (1 + below) / (1 + above)

    def conjugate(self, logits: Tensor) -> Tensor:
        below, above = self.excess_below(logits), self.excess_above(logits)
        return (logits + below - above).exp() * (1 + above) / (1 + below) - 1


class JensenShannon(Divergence):
    """KL(P || M) + KL(Q || M) with M = (P + Q) / 2, which is twice the Jensen-Shannon divergence.

    f(u) = u log u - (u + 1) log((u + 1) / 2), f*(t) = -log(2 - exp t) for t < log 2,
    g(l) = log 2 - log(1 + exp(-l)). The optimal l is log u.

    The losses are those of Minimax, except for a constant 2 log 2.
    """

    def output(self, logits: Tensor) -> Tensor:
        return math.log(2) - softplus(-logits)

    def conjugate(self, logits: Tensor) -> Tensor:
        return softplus(logits) - math.log(2)


class TotalVariation(Divergence):
    """Half the integral of |p - q|: f(u) = |u - 1| / 2, f*(t) = t for |t| <= 1/2, g(l) = tanh(l) / 2.

    The optimal l is infinite. The game is that of AbsoluteError with D = sigmoid(2 l). tanh(l) / 2 is
    computed as sigmoid(2 l) - 1/2, because rounding makes the slope of tanh zero at large negative l.
    """

    def output(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(2 * logits) - 0.5

    conjugate = output
