"""Adversarial objectives. l is the discriminator's logit, D = sigmoid(l)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import relu, softplus

from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike
from ganlab.core.turn import Capability, Player, Turn, at_least_float32
from ganlab.objectives.base import Objective

MaxLogit = Annotated[float, "(0, 40]"]  # largest exponent; exp(88) is the largest in float32


class Adversarial(Objective):
    """Base class of objectives with one loss per player, each [B] or [B, h, w]."""

    provides = frozenset({Capability.DISCRIMINATOR, Capability.SCORES, Capability.FAKE_COSTS})

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        loss = self.discriminator if turn.player == "discriminator" else self.generator
        return {"adversarial": loss(turn)}

    @abstractmethod
    def discriminator(self, turn: Turn) -> Tensor:
        """The discriminator's loss."""

    @abstractmethod
    def generator(self, turn: Turn) -> Tensor:
        """The generator's loss."""


class BinaryCrossEntropy(Adversarial):
    """Base class of objectives whose discriminator minimises -log D(x) - log(1 - D(G(z))), [B].

    With the turn's targets t the terms are -t log D - (1 - t) log(1 - D).
    """

    def discriminator(self, turn: Turn) -> Tensor:
        return cross_entropy(turn.on_real.logits, turn.targets.real, reduction="none") + cross_entropy(
            turn.on_fake.logits, turn.targets.fake, reduction="none"
        )


def linearised_exp(x: Tensor, ceiling: float) -> Tensor:
    """exp(x) for x <= ceiling, continued by its tangent at the ceiling.

    Clamping x would remove the gradient of the samples where the loss is steepest.
    """
    below = x.clamp(max=ceiling)
    return below.exp() * (1 + x - below)


class Minimax(BinaryCrossEntropy):
    """The zero-sum game (Goodfellow et al. 2014, equation 1): the generator minimises log(1 - D(G(z)))."""

    provides = Adversarial.provides | {Capability.SIGNS, Capability.TARGETS, Capability.ZERO_SUM}

    def generator(self, turn: Turn) -> Tensor:
        return -softplus(turn.on_fake.logits)


class NonSaturating(BinaryCrossEntropy):
    """The generator minimises -log D(G(z)) instead (Goodfellow et al. 2014, section 3)."""

    provides = Adversarial.provides | {Capability.SIGNS, Capability.TARGETS, Capability.COSTS}

    def generator(self, turn: Turn) -> Tensor:
        return softplus(-turn.on_fake.logits)


class MaximumLikelihood(BinaryCrossEntropy):
    """The generator minimises -D / (1 - D) = -exp(l(G(z))) (Goodfellow 2016, section 3.2.4).

    Against the optimal discriminator its expected gradient is that of KL(p_data || p_g). A few samples make
    up most of it. The tutorial's factors 1/2 can be set by `weight`.

    Args:
        max_logit: logit beyond which the exponential is replaced by its tangent.
    """

    provides = Adversarial.provides | {Capability.SIGNS, Capability.TARGETS}

    def __init__(self, max_logit: MaxLogit, weight: Mapping[Player, ScheduleLike]):
        super().__init__(weight)
        self.max_logit = max_logit

    def generator(self, turn: Turn) -> Tensor:
        return -linearised_exp(at_least_float32(turn.on_fake.logits), self.max_logit)


class AbsoluteError(Adversarial):
    """(1 - D(x)) / 2 + D(G(z)) / 2, which the discriminator minimises and the generator maximises.

    This is the expected absolute error of a discriminator that is shown real and generated samples equally
    often. The optimal one has D = 1 where p_data > p_g and D = 0 elsewhere, and the error probability
    1/2 - TV(p_data, p_g) / 2. The slope D (1 - D) / 2 vanishes at both ends, so a confident discriminator
    leaves the generator without a gradient.
    """

    provides = Adversarial.provides | {Capability.SIGNS}

    def discriminator(self, turn: Turn) -> Tensor:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        return (torch.sigmoid(-real) + torch.sigmoid(fake)) / 2

    def generator(self, turn: Turn) -> Tensor:
        return -torch.sigmoid(at_least_float32(turn.on_fake.logits)) / 2


class LeastSquares(Adversarial):
    """(l(x) - b)^2 / 2 + (l(G(z)) - a)^2 / 2; the generator (l(G(z)) - c)^2 / 2 (Mao et al. 2017, eq. 2).

    The turn's targets, as probabilities, are mapped linearly from a (0) to b (1). With b - c = 1 and
    b - a = 2 the generator minimises Pearson's chi^2 between p_data + p_g and 2 p_g (section 3.2.1).

    Raises:
        ConfigError: c does not lie on the same side of a as b.
    """

    provides = Adversarial.provides | {Capability.TARGETS, Capability.COSTS}

    def __init__(self, a: float, b: float, c: float, weight: Mapping[Player, ScheduleLike]):
        super().__init__(weight)
        reason = (
            f"would drive the generator away from the data, since b={b:g} is on the other side of a={a:g}"
        )
        require((c - a) * (b - a) > 0, ".c", c, reason, "choose c on the side of b")
        self.a, self.b, self.c = a, b, c
        if b == -a > 0:  # otherwise the decision boundary is not at 0
            self.provides = self.provides | {Capability.SIGNS}

    def discriminator(self, turn: Turn) -> Tensor:
        real, fake = (self.a + (self.b - self.a) * target for target in turn.targets)
        return (turn.on_real.logits - real).square() / 2 + (turn.on_fake.logits - fake).square() / 2

    def generator(self, turn: Turn) -> Tensor:
        return (turn.on_fake.logits - self.c).square() / 2


class Hinge(Adversarial):
    """max(0, 1 - l(x)) + max(0, 1 + l(G(z))); -l(G(z)) (Lim & Ye 2017; Miyato et al. 2018, eq. 16, 17)."""

    provides = Adversarial.provides | {Capability.SIGNS}

    def discriminator(self, turn: Turn) -> Tensor:
        return relu(1 - turn.on_real.logits) + relu(1 + turn.on_fake.logits)

    def generator(self, turn: Turn) -> Tensor:
        return -turn.on_fake.logits


class Wasserstein(Adversarial):
    """-l(x) + l(G(z)); -l(G(z)) (Arjovsky, Chintala & Bottou 2017, equations 2, 3).

    The supremum over 1-Lipschitz l is the Wasserstein-1 distance. This objective does not bound the slope of
    l; a trick or a layer has to.
    """

    def discriminator(self, turn: Turn) -> Tensor:
        return turn.on_fake.logits - turn.on_real.logits

    def generator(self, turn: Turn) -> Tensor:
        return -turn.on_fake.logits
