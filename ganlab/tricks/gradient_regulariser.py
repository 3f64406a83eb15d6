from abc import abstractmethod

from torch import Tensor

from ganlab.core.schedules import Schedule
from ganlab.core.validation import Count
from ganlab.tricks.base import Capability, Networks, Player, Terms, Trick, Turn


class GradientRegulariser(Trick):
    """Base class of penalties on the gradient of the discriminator's logits with respect to its inputs.

    The penalty is computed at every `every`-th update of the discriminator and multiplied by `every`, so its
    mean stays the same (lazy regularisation, StyleGAN2, Karras et al. 2020, section 3.1). StyleGAN2 updates
    the weights separately for the penalty, and therefore corrects the hyperparameters of Adam. Here the
    penalty is a term of the loss, so no correction is needed. In unrolled steps of the discriminator, the
    penalty is computed at each step.

    In a discriminator with batch norm, as in model=dcgan, the gradient at a sample depends on all samples of
    the batch. The trick `normalisation` replaces the batch norm.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.SECOND_DERIVATIVES})
    players = ("discriminator",)
    saved_attributes = ("num_updates",)

    def __init__(self, name: str, weight: Schedule, every: Count):
        super().__init__()
        self.name, self.weight, self.every = name, weight, every
        self.num_updates = 0  # the number of updates of the discriminator, at most one in each step

    @abstractmethod
    def penalty(self, turn: Turn) -> Tensor:
        """The penalty of each sample or pack, before it is multiplied by `weight` and `every`, [N]."""

    def terms(self, turn: Turn) -> Terms:
        every = 1 if turn.is_unrolled else self.every
        if self.num_updates % every:
            return {}
        return {self.name: every * self.weight(turn.step) * self.penalty(turn)}

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator":
            self.num_updates += 1
