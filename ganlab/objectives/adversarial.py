"""Adversarial objectives. l is the discriminator's logit, D = sigmoid(l)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import relu, softplus

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule
from ganlab.core.turn import Capability, Player, Turn, at_least_float32
from ganlab.objectives.base import Objective

MaxLogit = Annotated[float, "(0, 40]"]  # of exponents, far from the largest float32, exp(88)


class Adversarial(Objective):
    """One cost per player, each [B] or [B, h, w]."""

    provides = frozenset({Capability.DISCRIMINATOR, Capability.SCORES, Capability.FAKE_COSTS})

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        cost = self.discriminator if turn.player == "discriminator" else self.generator
        return {"adversarial": cost(turn)}

    @abstractmethod
    def discriminator(self, turn: Turn) -> Tensor: ...

    @abstractmethod
    def generator(self, turn: Turn) -> Tensor: ...


class Classifying(Adversarial):
    """-log D(x) - log(1 - D(G(z))), towards the turn's targets, [B]."""

    def discriminator(self, turn: Turn) -> Tensor:
        return cross_entropy(turn.on_real.logits, turn.targets.real, reduction="none") + cross_entropy(
            turn.on_fake.logits, turn.targets.fake, reduction="none"
        )


def exponential(x: Tensor, ceiling: float) -> Tensor:
    """exp(x) up to `ceiling`, and its tangent there beyond it.

    The slope is held, not cut to 0: where an exponential cost is steepest lie the very samples that
    it is about, and a clamp would take their gradient away without a word.
    """
    below = x.clamp(max=ceiling)
    return below.exp() * (1 + x - below)


class Minimax(Classifying):
    """The zero-sum game (Goodfellow et al. 2014, equation 1): the generator minimises log(1 - D(G(z)))."""

    provides = Adversarial.provides | {Capability.SIGNS, Capability.TARGETS, Capability.ZERO_SUM}

    def generator(self, turn: Turn) -> Tensor:
        return -softplus(turn.on_fake.logits)


class NonSaturating(Classifying):
    """The generator minimises -log D(G(z)) instead (Goodfellow et al. 2014, section 3)."""

    provides = Adversarial.provides | {Capability.SIGNS, Capability.TARGETS, Capability.COSTS}

    def generator(self, turn: Turn) -> Tensor:
        return softplus(-turn.on_fake.logits)


class MaximumLikelihood(Classifying):
    """The generator minimises -D / (1 - D) = -exp(l(G(z))) (Goodfellow 2016, section 3.2.4).

    Against the best discriminator its expected gradient is that of KL(p_data || p_g); the tutorial's
    factors 1/2 are `weight`. Few samples carry most of it. Beyond `max_logit` the slope stays
    exp(max_logit).
    """

    provides = Adversarial.provides | {Capability.SIGNS, Capability.TARGETS}

    def __init__(self, max_logit: MaxLogit, weight: Mapping[Player, float | Schedule]):
        super().__init__(weight)
        self.max_logit = max_logit

    def generator(self, turn: Turn) -> Tensor:
        return -exponential(at_least_float32(turn.on_fake.logits), self.max_logit)


class AbsoluteError(Adversarial):
    """1/2 (1 - D(x)) + 1/2 D(G(z)), which the discriminator minimises and the generator maximises.

    The expected absolute error of a judge who is shown real and generated samples equally often. The best
    one is sure: D = 1 where p_data > p_g, else 0, and errs with probability 1/2 - TV(p_data, p_g) / 2.
    The slope D (1 - D) / 2 fades on both sides, so a sure discriminator leaves the generator without one.
    """

    provides = Adversarial.provides | {Capability.SIGNS}

    def discriminator(self, turn: Turn) -> Tensor:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        return (torch.sigmoid(-real) + torch.sigmoid(fake)) / 2

    def generator(self, turn: Turn) -> Tensor:
        return -torch.sigmoid(at_least_float32(turn.on_fake.logits)) / 2


class LeastSquares(Adversarial):
    """1/2 (l(x) - b)^2 + 1/2 (l(G(z)) - a)^2; 1/2 (l(G(z)) - c)^2 (Mao et al. 2017, equation 2).

    Targets as probabilities move the goals on the line from a (0) to b (1). With b - c = 1 and b - a = 2
    the generator minimises Pearson's chi^2 of p_data + p_g and 2 p_g (section 3.2.1).
    """

    provides = Adversarial.provides | {Capability.TARGETS, Capability.COSTS}

    def __init__(self, a: float, b: float, c: float, weight: Mapping[Player, float | Schedule]):
        super().__init__(weight)
        if (c - a) * (b - a) <= 0:
            raise ConfigError(
                f"objective.c={c:g} must lie on the side of objective.b={b:g} seen from objective.a={a:g}, "
                "or the generator would be driven away from the data"
            )
        self.a, self.b, self.c = a, b, c
        if b == -a > 0:  # else the verdict turns elsewhere than at 0
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

    The supremum over 1-Lipschitz l is the Wasserstein-1 distance. Nothing here bounds the slope of l: that
    is for a trick or a layer.
    """

    def discriminator(self, turn: Turn) -> Tensor:
        return turn.on_fake.logits - turn.on_real.logits

    def generator(self, turn: Turn) -> Tensor:
        return -turn.on_fake.logits
