from abc import abstractmethod

from torch import Tensor

from ganlab.core.schedules import Schedule
from ganlab.core.turn import Capability, Networks, Player, Turn
from ganlab.core.validation import Count
from ganlab.tricks.base import Compute, Terms, Trick


class GradientRegulariser(Trick):
    """A penalty on the slope of the discriminator's logits, on each `every`-th of its moves.

    Where it is left out meanwhile it is multiplied by `every`, so its mean stays (lazy regularisation,
    StyleGAN2, Karras et al. 2020, section 3.1). It is one sum with the other terms and no step of its own,
    so the rates of Adam need no correction. Of the steps of an unrolled discriminator each has it once.

    In a discriminator with batch norm, as model=dcgan has, each logit depends on the whole batch, and so does
    the slope at a sample; trick normalisation takes the batch norm out.

    Args:
        name: of the trick and of its term.
        weight: of the penalty.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SCORES, Capability.SECOND_DERIVATIVES})
    counts = ("moves",)

    def __init__(self, name: str, weight: Schedule, every: Count):
        super().__init__()
        self.name = name
        self.weight = weight
        self.every = every
        self.moves = 0  # of the discriminator: it may sit rounds out

    @abstractmethod
    def penalty(self, turn: Turn) -> Tensor:
        """One number per verdict, [B]."""

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        every = 1 if turn.is_ahead else self.every
        if turn.player == "generator" or self.moves % every:
            return terms
        return {**terms, self.name: every * self.weight(turn.step) * self.penalty(turn)}

    def after(self, player: Player, networks: Networks, step: int) -> None:
        self.moves += player == "discriminator"
