"""Adversarial objectives.

In all formulas, l is the discriminator's logit, D = sigmoid(l), x a real sample and G(z) a generated one.
"""

from abc import abstractmethod
from typing import Annotated

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

from ganlab.core.batch import at_least_float32
from ganlab.core.errors import require
from ganlab.objectives.base import Capability, LossWeights, Objective, Turn

MaxLogit = Annotated[float, "(0, 40]"]  # exp(max_logit) stays far below the largest float32, about exp(88)


class Adversarial(Objective):
    """Base class of objectives with one loss term for each player: [B], or [B, h, w] over patches."""

    provides = frozenset({
        Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.LOSS_PER_FAKE, Capability.APART,
    })  # fmt: skip

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        loss = self.discriminator_loss if turn.player == "discriminator" else self.generator_loss
        return {"adversarial": loss(turn)}

    @abstractmethod
    def discriminator_loss(self, turn: Turn) -> Tensor:
        """The loss of the discriminator."""

    @abstractmethod
    def generator_loss(self, turn: Turn) -> Tensor:
        """The loss of the generator."""


class BinaryCrossEntropy(Adversarial):
    """Base class of objectives whose discriminator minimises -log D(x) - log(1 - D(G(z))).

    Each term is the cross entropy -t log D - (1 - t) log(1 - D). The target t is 1 for real samples and 0
    for fakes, unless a trick changes it.
    """

    provides = Adversarial.provides | {Capability.BOUNDARY_AT_ZERO, Capability.TARGETS}

    def discriminator_loss(self, turn: Turn) -> Tensor:
        real = binary_cross_entropy_with_logits(turn.on_real.logits, turn.targets.real, reduction="none")
        fake = binary_cross_entropy_with_logits(turn.on_fake.logits, turn.targets.fake, reduction="none")
        return real + fake


class Minimax(BinaryCrossEntropy):
    """The zero-sum game (Goodfellow et al. 2014, equation 1): the generator minimises log(1 - D(G(z)))."""

    provides = BinaryCrossEntropy.provides | {Capability.ZERO_SUM}

    def generator_loss(self, turn: Turn) -> Tensor:
        return -softplus(turn.on_fake.logits)


class NonSaturating(BinaryCrossEntropy):
    """The game in which the generator minimises -log D(G(z)) (Goodfellow et al. 2014, section 3)."""

    provides = BinaryCrossEntropy.provides | {Capability.NON_NEGATIVE_LOSSES}

    def generator_loss(self, turn: Turn) -> Tensor:
        return softplus(-turn.on_fake.logits)


class MaximumLikelihood(BinaryCrossEntropy):
    """The game in which the generator minimises -exp(l(G(z))) (Goodfellow 2016, section 3.2.4).

    Against the optimal discriminator, the expected gradient of this loss is that of KL(p_data || p_g). A few
    samples contribute most of the gradient. Goodfellow (2016) multiplies all losses by 1/2; the setting
    `weight` can do the same here.

    Args:
        max_logit: the logit above which the exponential is replaced by its tangent.
    """

    def __init__(self, max_logit: MaxLogit, weight: LossWeights):
        super().__init__(weight)
        self.max_logit = max_logit

    def generator_loss(self, turn: Turn) -> Tensor:
        return -linearised_exp(at_least_float32(turn.on_fake.logits), self.max_logit)


def linearised_exp(x: Tensor, ceiling: float) -> Tensor:
    """exp(x) for x <= ceiling; for larger x, the tangent of exp at the ceiling.

    If x were clamped instead, there would be no gradient where the loss is steepest.
    """
    clamped = x.clamp(max=ceiling)
    return clamped.exp() * (1 + x - clamped)


class AbsoluteError(Adversarial):
    """The loss (1 - D(x)) / 2 + D(G(z)) / 2; the discriminator minimises it, the generator maximises it.

    The loss is the expected absolute error of a discriminator that judges real and generated samples equally
    often. The optimal discriminator has D = 1 where p_data > p_g and D = 0 elsewhere. Its probability of an
    error is 1/2 - TV / 2, where TV is the total variation distance of p_data and p_g. The derivative of
    the loss with respect to the logit, D (1 - D) / 2 in absolute value, vanishes at D = 0 and D = 1, so a
    confident discriminator leaves the generator without a gradient.
    """

    provides = Adversarial.provides | {Capability.BOUNDARY_AT_ZERO}

    def discriminator_loss(self, turn: Turn) -> Tensor:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        return ((-real).sigmoid() + fake.sigmoid()) / 2

    def generator_loss(self, turn: Turn) -> Tensor:
        return -at_least_float32(turn.on_fake.logits).sigmoid() / 2


class LeastSquares(Adversarial):
    """The loss (l(x) - b)^2 / 2 + (l(G(z)) - a)^2 / 2; the generator minimises (l(G(z)) - c)^2 / 2.

    The losses are those of Mao et al. (2017, equation 2). a and b are the target logits of fakes and of real
    samples. A target probability t, which a trick may change, becomes the target logit a + (b - a) t. With
    b - c = 1 and b - a = 2 the generator minimises Pearson's chi^2 between p_data + p_g and 2 p_g (section
    3.2.1). c must lie on the same side of a as b.
    """

    provides = Adversarial.provides | {Capability.TARGETS, Capability.NON_NEGATIVE_LOSSES}

    def __init__(self, a: float, b: float, c: float, weight: LossWeights):
        super().__init__(weight)
        reason = f"drives the generator away from the data, since b={b:g} is on the other side of a={a:g}"
        require((c - a) * (b - a) > 0, reason, "choose c on the side of b", ".c", c)
        self.a, self.b, self.c = a, b, c
        if b > 0 and a == -b:  # then the boundary between real and fake, (a + b) / 2, is the logit 0
            self.provides = self.provides | {Capability.BOUNDARY_AT_ZERO}

    def discriminator_loss(self, turn: Turn) -> Tensor:
        real_target, fake_target = (self.a + (self.b - self.a) * target for target in turn.targets)
        real, fake = turn.on_real.logits, turn.on_fake.logits
        return ((real - real_target).square() + (fake - fake_target).square()) / 2

    def generator_loss(self, turn: Turn) -> Tensor:
        return (turn.on_fake.logits - self.c).square() / 2


class Hinge(Adversarial):
    """The hinge loss max(0, 1 - l(x)) + max(0, 1 + l(G(z))); the generator minimises -l(G(z)).

    See Lim & Ye (2017) and Miyato et al. (2018, equations 16 and 17).
    """

    provides = Adversarial.provides | {Capability.BOUNDARY_AT_ZERO}

    def discriminator_loss(self, turn: Turn) -> Tensor:
        return relu(1 - turn.on_real.logits) + relu(1 + turn.on_fake.logits)

    def generator_loss(self, turn: Turn) -> Tensor:
        return -turn.on_fake.logits


class Wasserstein(Adversarial):
    """The loss -l(x) + l(G(z)); the generator minimises -l(G(z)) (Arjovsky, Chintala & Bottou 2017).

    The supremum of E l(x) - E l(G(z)) over 1-Lipschitz l is the Wasserstein-1 distance. This objective does
    not bound the slope of l; add a trick that does, such as weight_clip or gradient_penalty.
    """

    def discriminator_loss(self, turn: Turn) -> Tensor:
        return turn.on_fake.logits - turn.on_real.logits

    def generator_loss(self, turn: Turn) -> Tensor:
        return -turn.on_fake.logits
