import torch

from ganlab.schedules import Schedule, active
from ganlab.tricks.base import Compute, Terms, Trick
from ganlab.turn import Offer, Turn, accurate


class R1(Trick):
    """gamma / 2 E |grad D(x)|^2 at real samples (Mescheder, Geiger & Nowozin 2018, equation 9).

    One slope per verdict, over all of a sample's numbers; taken on the logits that the objective
    judges, so it adds no pass through the discriminator.
    """

    needs = frozenset({Offer.DISCRIMINATOR, Offer.SCORES, Offer.SECOND_DERIVATIVES})
    differentiates_inputs = True

    def __init__(self, gamma: float | Schedule):
        super().__init__()
        self.gamma = active("trick.r1.gamma", gamma)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "generator":
            return terms
        logits = turn.on_real.logits
        (slope,) = torch.autograd.grad(logits.sum(), turn.real.x, create_graph=True)
        penalty = accurate(slope).reshape(len(logits), -1).square().sum(1)  # [B]
        return {**terms, "r1": self.gamma(turn.step) / 2 * penalty}
