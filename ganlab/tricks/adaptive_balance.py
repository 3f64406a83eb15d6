import math
from typing import Literal

import torch
from torch import Tensor, nn

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.errors import require
from ganlab.core.turn import Capability, Player, Turn, at_least_float32
from ganlab.core.validation import Positive
from ganlab.tricks.base import Compute, Order, Terms, Trick

LeadMeasure = Literal["accuracy", "ranking", "loss_ratio"]


class AdaptiveBalance(Trick):
    """A player that is too far ahead skips the next step.

    The discriminator's lead is measured in each step, over the global batch. If it is above `high`, the
    discriminator skips the step; if it is below `low`, the generator does. The other player still moves. In
    3D-GAN the discriminator skips steps when its accuracy is too high (Wu et al. 2016, section 3.1). Ganhacks
    11 advises against rules of this kind.

    by: the measure of the lead. `accuracy`: the mean of the accuracies on real samples and on fakes.
        `ranking`: the share of pairs in which the real sample has a higher logit than the fake, for logits
        without a meaningful sign. Both are 1/2 for a discriminator that cannot distinguish the samples, and
        cost one pass in steps that the discriminator skips. `loss_ratio`: the generator's loss divided by the
        discriminator's; in a step that a player skips, its last loss is used.
    low, high: the thresholds; null disables one.
    """

    order = Order.PRESENT  # last, so that losses inside of unrolled steps are not measured
    claims = frozenset({Capability.MOVE_CONTROL})

    def __init__(self, by: LeadMeasure, low: Positive | None, high: Positive | None):
        super().__init__()
        needs = {Capability.DISCRIMINATOR, Capability.COSTS if by == "loss_ratio" else Capability.SCORES}
        self.needs = frozenset(needs | ({Capability.SIGNS} if by == "accuracy" else set()))
        self.measure = by
        reason = "has no effect together with high=null"
        require((low, high) != (None, None), ".low", low, reason, "set one of them")
        for key, share in ((".low", low), (".high", high)):
            valid = by == "loss_ratio" or share is None or share < 1
            require(valid, key, share, "must be a number in (0, 1)")
        self.low, self.high = -math.inf if low is None else low, math.inf if high is None else high
        require(self.low < self.high, ".low", low, f"must be less than high={high}, or neither player moves")
        # The accuracy or ranking, or the losses of generator and discriminator; NaN before the first step.
        self.latest = nn.Buffer(torch.full((2 if by == "loss_ratio" else 1,), math.nan))
        self._read = -1, math.nan  # the last step for which `latest` was read, and the lead then
        self.measured_step = -1  # the last step in which a lead was measured

    def may_move(self, player: Player, step: int) -> bool:
        # This is called for both players; reading `latest`, which waits for the device, is done once.
        if self._read[0] != step:
            latest, divisor = (*self.latest.tolist(), 1.0)[:2]  # only a loss ratio has a second element
            self._read = step, latest / divisor if divisor else math.inf
        lead = self._read[1]  # NaN before the first step, neither above nor below a threshold
        return not (lead > self.high if player == "discriminator" else lead < self.low)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if self.measure == "loss_ratio":
            loss = torch.stack([at_least_float32(term.detach()).mean() for term in terms.values()]).sum()
            self.latest[int(turn.player == "discriminator")] = mean_over_ranks(loss)
        # On the generator's turn only if the discriminator has skipped this step.
        elif turn.player == "discriminator" or self.measured_step != turn.step:
            self.latest[0] = mean_over_ranks(accuracy(turn) if self.measure == "accuracy" else ranking(turn))
        self.measured_step = turn.step
        return terms


@torch.no_grad()
def accuracy(turn: Turn) -> Tensor:
    """The mean of the accuracies on real samples and on fakes, a scalar; a logit of 0 is wrong for both."""
    correct = turn.on_real.logits > 0, turn.on_fake.logits < 0
    return torch.stack([part.float().mean() for part in correct]).mean()


@torch.no_grad()
def ranking(turn: Turn) -> Tensor:
    """The share of pairs whose real sample has the higher logit, a scalar; a tie counts as half a pair."""
    gap = at_least_float32(turn.on_real.logits) - at_least_float32(turn.on_fake.logits)
    return (1 + gap.sign()).mean() / 2
