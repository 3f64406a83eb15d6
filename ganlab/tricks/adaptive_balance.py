import math
from typing import Literal

import torch
from torch import Tensor, nn

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.errors import require
from ganlab.core.turn import Capability, Player, Turn, at_least_float32
from ganlab.core.validation import Positive
from ganlab.tricks.base import Compute, Order, Terms, Trick

Measure = Literal["accuracy", "ranking", "loss_ratio"]


class AdaptiveBalance(Trick):
    """A player that is too far ahead skips the next step.

    The discriminator's lead is measured in each step, over the global batch. If it is above `high`, the
    discriminator skips the step; if it is below `low`, the generator does. The other player still moves. In
    3D-GAN the discriminator skips steps when it is right too often (Wu et al. 2016, section 3.1); ganhacks
    11 advises against rules of this kind.

    by: the measure of the lead. `accuracy`: the mean of two shares, that of real samples with a positive
        logit and that of fakes with a negative one. `ranking`: the share of pairs in which the real sample
        has a higher logit than the fake, for logits without a meaningful sign. Both are 1/2 for a
        discriminator that cannot distinguish the samples, and cost one pass in steps that the discriminator
        skips. `loss_ratio`: the generator's loss over the discriminator's; a player that skips keeps its
        last loss.
    low, high: null disables a threshold.
    """

    order = Order.PRESENT  # outermost: losses inside of unrolled steps are not measured
    claims = frozenset({Capability.MOVE_CONTROL})

    def __init__(self, by: Measure, low: Positive | None, high: Positive | None):
        super().__init__()
        needs = {Capability.DISCRIMINATOR, Capability.COSTS if by == "loss_ratio" else Capability.SCORES}
        self.needs = frozenset(needs | ({Capability.SIGNS} if by == "accuracy" else set()))
        self.by = by
        reason = "has no effect together with high=null"
        require((low, high) != (None, None), ".low", low, reason, "set one of them")
        for key, share in ((".low", low), (".high", high)):
            valid = by == "loss_ratio" or share is None or share < 1
            require(valid, key, share, "must be a number in (0, 1)")
        self.low, self.high = -math.inf if low is None else low, math.inf if high is None else high
        require(self.low < self.high, ".low", low, f"must be less than high={high}, or neither player moves")
        # The share, or the losses of generator and discriminator; NaN before the first step.
        self.latest = nn.Buffer(torch.full((2 if by == "loss_ratio" else 1,), math.nan))
        self._known = -1, math.nan  # a step, and the discriminator's lead in it
        self.judged = -1  # the last step whose lead was measured

    def may_move(self, player: Player, step: int) -> bool:
        if self._known[0] != step:  # called for both players: reading `latest` waits for the device once
            latest, loss = (*self.latest.tolist(), 1.0)[:2]  # a share has nothing to be divided by
            self._known = step, latest / loss if loss else math.inf
        lead = self._known[1]  # NaN, which is neither above nor below a threshold, if it is unknown
        return not (lead > self.high if player == "discriminator" else lead < self.low)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if self.by == "loss_ratio":
            loss = torch.stack([at_least_float32(term.detach()).mean() for term in terms.values()]).sum()
            self.latest[int(turn.player == "discriminator")] = mean_over_ranks(loss)
        elif turn.player == "discriminator" or self.judged != turn.step:
            self.latest[0] = mean_over_ranks(accuracy(turn) if self.by == "accuracy" else ranking(turn))
        self.judged = turn.step
        return terms


@torch.no_grad()
def accuracy(turn: Turn) -> Tensor:
    """The mean accuracy on real samples and on fakes, a scalar; a logit of 0 is wrong for both."""
    right = turn.on_real.logits > 0, turn.on_fake.logits < 0
    return torch.stack([kind.float().mean() for kind in right]).mean()


@torch.no_grad()
def ranking(turn: Turn) -> Tensor:
    """The share of pairs whose real sample has the higher logit, a scalar; a tie counts half."""
    gap = at_least_float32(turn.on_real.logits) - at_least_float32(turn.on_fake.logits)
    return (1 + gap.sign()).mean() / 2
