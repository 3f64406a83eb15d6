"""An objective."""

from torch import Tensor

from ganlab.core.turn import Turn
from ganlab.objectives.adversarial import Adversarial
from ganlab.objectives.base import LossWeights


class MarginHinge(Adversarial):
    """The hinge loss with a margin, which is 1 in the usual one."""

    def __init__(self, margin: float, weight: LossWeights):
        super().__init__(weight)
        self.margin = margin

    def discriminator_loss(self, turn: Turn) -> Tensor:
        return (self.margin - turn.on_real.logits).relu() + (self.margin + turn.on_fake.logits).relu()

    def generator_loss(self, turn: Turn) -> Tensor:
        return -turn.on_fake.logits
