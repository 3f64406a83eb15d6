"""f-divergences as adversarial objectives (Nowozin, Cseke & Tomioka 2016).

P is the distribution of the data with density p, Q that of the generated samples with density q, and
u = p / q. The divergence D_f(P || Q) = E_Q f(u) is the supremum over functions t of E_P t(x) - E_Q f*(t(x)),
where f* is the convex conjugate of f. The discriminator's logit l gives t = g(l), where the output activation
g maps to the domain of f*. g is increasing, so larger logits mean "more real", as in all objectives.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor
from torch.nn.functional import relu, softplus

from ganlab.core.batch import at_least_float32
from ganlab.objectives.adversarial import Adversarial, MaxLogit
from ganlab.objectives.base import LossWeights, Turn


class Divergence(ABC):
    """Base class of divergences, which compute g(l) and f*(g(l)).

    f*(g(l)) is simplified to one formula in l. Computing f* from the value of g(l) would often mean
    taking the exponential of a logarithm.
    """

    @abstractmethod
    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The activation g(l), and the value f*(g(l)) of the conjugate there, each of the shape of l."""


class FDivergence(Adversarial):
    """The discriminator minimises -g(l(x)) + f*(g(l(G(z)))), the negative lower bound of the divergence.

    Args:
        generator_cost: the generator's loss. "bound" is -f*(g(l(G(z)))), as in the saddle point problem of
            equation 6, in which the generator minimises the divergence itself. "output" is -g(l(G(z)))
            (section 3.2), which has the same fixed points. For bounded divergences, only "output" has a
            nonzero slope where the discriminator is certain that a sample is fake.
    """

    def __init__(
        self, divergence: Divergence, generator_cost: Literal["bound", "output"], weight: LossWeights
    ):
        super().__init__(weight)
        self.divergence, self.cost_is_bound = divergence, generator_cost == "bound"

    def discriminator_loss(self, turn: Turn) -> Tensor:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        activation_of_real, _ = self.divergence(real)
        _, conjugate_of_fake = self.divergence(fake)
        return conjugate_of_fake - activation_of_real

    def generator_loss(self, turn: Turn) -> Tensor:
        activation, conjugate = self.divergence(at_least_float32(turn.on_fake.logits))
        return -(conjugate if self.cost_is_bound else activation)


class ExponentialDivergence(Divergence):
    """Base class of divergences whose g(l) or f*(g(l)) is exponential in the logit.

    Where |l| > m = `max_logit`, the exponential is replaced by its tangent, so its slope is bounded. Each
    divergence replaces either g(l) or f*(g(l)), and computes the other one from it. So f*, as a function of
    t, is unchanged. If both were tangents, the bound would exceed the divergence for some l, and the
    discriminator would push its logits there without limit.

    In the code, `below` and `above` are the distances of l below -m and above m, and zero in [-m, m]. So
    l - above = min(l, m) and l + below = max(l, -m). The tangent of exp(l) at m is exp(m) (1 + above), and
    that of exp(-l) at -m is exp(m) (1 + below).
    """

    def __init__(self, max_logit: MaxLogit):
        self.max_logit = max_logit


class KullbackLeibler(ExponentialDivergence):
    """KL(P || Q): f(u) = u log u, f*(t) = exp(t - 1), g(l) = l. The optimal l is 1 + log u.

    For l > m, f*(g(l)) is its tangent at m, and g(l) = m + log(1 + l - m).
    """

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        above = relu(logits - self.max_logit)
        activation = logits - above + above.log1p()  # 1 + log f*(g(l))
        return activation, (logits - above - 1).exp() * (1 + above)


class ReverseKullbackLeibler(ExponentialDivergence):
    """KL(Q || P): f(u) = -log u, f*(t) = -1 - log(-t) for t < 0, g(l) = -exp(-l). The optimal l is log u.

    For l < -m, g is its tangent at -m.
    """

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        below = relu(-self.max_logit - logits)
        activation = -(-logits - below).exp() * (1 + below)
        return activation, logits + below - below.log1p() - 1  # -1 - log(-g(l))


class Pearson(Divergence):
    """The integral of (p - q)^2 / q: f(u) = (u - 1)^2, f*(t) = t^2 / 4 + t, g(l) = l.

    The optimal l is 2 (u - 1), so at least -2. Below -2, f*(g(l)) decreases with l, and the generator
    cost "bound" would push samples away from the data.
    """

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return logits, logits.square() / 4 + logits


class Neyman(ExponentialDivergence):
    """The integral of (p - q)^2 / p: f(u) = (1 - u)^2 / u, f*(t) = 2 - 2 sqrt(1 - t) for t < 1.

    g(l) = 1 - exp(-l). The optimal l is 2 log u. For l < -m, g is its tangent at -m.
    """

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        below = relu(-self.max_logit - logits)
        activation = 1 - (-logits - below).exp() * (1 + below)
        conjugate = 2 - 2 * ((-logits - below) / 2).exp() * (1 + below).sqrt()  # 2 - 2 sqrt(1 - g(l))
        return activation, conjugate


class SquaredHellinger(ExponentialDivergence):
    """The integral of (sqrt p - sqrt q)^2: f(u) = (sqrt u - 1)^2, f*(t) = t / (1 - t) for t < 1.

    g(l) = 1 - exp(-l). The optimal l is log(u) / 2. For l < -m, g is its tangent at -m; for l > m, f*(g(l))
    is its tangent at m.
    """

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        below, above = relu(-self.max_logit - logits), relu(logits - self.max_logit)
        # For l <= m, 1 - g is exp(-l) or its tangent, and 1 + f* = 1 / (1 - g). For l > m, 1 + f* is the
        # tangent of exp(l), and 1 - g = 1 / (1 + f*).
        activation = 1 - (above - below - logits).exp() * (1 + below) / (1 + above)
        return activation, (logits + below - above).exp() * (1 + above) / (1 + below) - 1


class JensenShannon(Divergence):
    """KL(P || M) + KL(Q || M) with M = (P + Q) / 2, which is twice the Jensen-Shannon divergence.

    f(u) = u log u - (u + 1) log((u + 1) / 2), f*(t) = -log(2 - exp t) for t < log 2,
    g(l) = log 2 - log(1 + exp(-l)). The optimal l is log u.

    The losses are those of Minimax, except for a constant 2 log 2.
    """

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return math.log(2) - softplus(-logits), softplus(logits) - math.log(2)


class TotalVariation(Divergence):
    """Half the integral of |p - q|: f(u) = |u - 1| / 2, f*(t) = t for |t| <= 1/2, g(l) = tanh(l) / 2.

    The optimal l is infinite. The losses are those of `adversarial.AbsoluteError` with D = sigmoid(2 l),
    except for a factor 2 and a constant. tanh(l) / 2 is computed as sigmoid(2 l) - 1/2, because rounding
    makes the slope of tanh zero at large negative l.
    """

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        activation = (2 * logits).sigmoid() - 0.5
        return activation, activation  # f* is the identity
