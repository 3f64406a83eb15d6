"""Adversarial objectives. l is the discriminator's logit, D = sigmoid(l)."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import relu, softplus

from ganlab.objectives.base import Objective
from ganlab.turn import Offer, Turn


class Adversarial(Objective):
    """One cost per player, each [B] or [B, h, w]."""

    offers = frozenset({Offer.DISCRIMINATOR})

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        cost = self.discriminator if turn.player == "discriminator" else self.generator
        return {"adversarial": cost(turn)}

    @abstractmethod
    def discriminator(self, turn: Turn) -> Tensor: ...

    @abstractmethod
    def generator(self, turn: Turn) -> Tensor: ...


def classify(turn: Turn) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), towards the turn's targets, [B]."""
    return cross_entropy(turn.on_real.logits, turn.targets.real, reduction="none") + cross_entropy(
        turn.on_fake.logits, turn.targets.fake, reduction="none"
    )


class Minimax(Adversarial):
    """The zero-sum game (Goodfellow et al. 2014, equation 1): the generator minimises log(1 - D(G(z)))."""

    offers = Adversarial.offers | {Offer.TARGETS}

    def discriminator(self, turn: Turn) -> Tensor:
        return classify(turn)

    def generator(self, turn: Turn) -> Tensor:
        return -softplus(turn.on_fake.logits)


class NonSaturating(Adversarial):
    """The generator minimises -log D(G(z)) instead (Goodfellow et al. 2014, section 3)."""

    offers = Adversarial.offers | {Offer.TARGETS}

    def discriminator(self, turn: Turn) -> Tensor:
        return classify(turn)

    def generator(self, turn: Turn) -> Tensor:
        return softplus(-turn.on_fake.logits)


class Hinge(Adversarial):
    """max(0, 1 - l(x)) + max(0, 1 + l(G(z))); -l(G(z)) (Lim & Ye 2017; Miyato et al. 2018, eq. 16, 17)."""

    def discriminator(self, turn: Turn) -> Tensor:
        return relu(1 - turn.on_real.logits) + relu(1 + turn.on_fake.logits)

    def generator(self, turn: Turn) -> Tensor:
        return -turn.on_fake.logits
