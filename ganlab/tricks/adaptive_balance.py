import math
from typing import Literal

import torch
from torch import Tensor, nn

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import mean_over_processes
from ganlab.core.errors import require
from ganlab.core.validation import Positive
from ganlab.tricks.base import Capability, Compute, Order, Player, Terms, Trick, Turn

LeadMeasure = Literal["accuracy", "ranking", "loss_ratio"]


class AdaptiveBalance(Trick):
    """A player that is too far ahead skips the next step.

    The discriminator's lead is measured in each step, over the global batch. If the lead is above `high`, the
    discriminator skips the next step; if it is below `low`, the generator skips it. The other player moves.
    In 3D-GAN the discriminator skips steps when its accuracy is too high (Wu et al. 2016, section 3.1).
    Ganhacks 11 advises against rules of this kind.

    by: the measure of the lead. `accuracy`: the mean of the accuracies on real samples and on fakes.
        `ranking`: the fraction of pairs of a real sample and a fake in which the real sample has the higher
        logit. It suits logits whose sign has no meaning. Both measures are 1/2 for a discriminator that
        cannot distinguish the samples. In a step that the discriminator skips, they cost an additional pass
        through it.
        `loss_ratio`: the generator's loss divided by the discriminator's. In a step that a player skips, the
        player's previous loss is used.
    low, high: the thresholds of the lead. null disables a threshold.
    """

    # The trick `unrolled` also calls the tricks that precede it in its trial updates. This trick follows
    # `unrolled`, so the lead is measured in the actual step only.
    order = Order.LAST
    claims = frozenset({Capability.MOVE_CONTROL})

    def __init__(self, by: LeadMeasure, low: Positive | None, high: Positive | None):
        super().__init__()
        needs = {Capability.NON_NEGATIVE_LOSSES if by == "loss_ratio" else Capability.LOSS_ON_LOGITS}
        if by != "loss_ratio":
            needs.add(Capability.APART)
        if by == "accuracy":
            needs.add(Capability.BOUNDARY_AT_ZERO)
        self.needs = frozenset(needs | {Capability.DISCRIMINATOR})
        self.measure = by
        reason = "has no effect together with high=null"
        require((low, high) != (None, None), reason, "set one of them", key=".low", value=low)
        for key, threshold in ((".low", low), (".high", high)):
            valid = by == "loss_ratio" or threshold is None or threshold < 1
            require(valid, "must be a number in (0, 1)", key=key, value=threshold)
        self.low = -math.inf if low is None else low
        self.high = math.inf if high is None else high
        reason = f"must be less than high={high}; otherwise neither player could move"
        require(self.low < self.high, reason, key=".low", value=low)
        # With by=loss_ratio, the latest losses of the generator and of the discriminator, [2]; otherwise the
        # latest accuracy or ranking, [1]. NaN before the first step.
        self.latest = nn.Buffer(torch.full((2 if by == "loss_ratio" else 1,), math.nan))
        self.measured_step = -1  # the latest step in which the lead was measured

    def may_move(self, player: Player, step: int) -> bool:
        # Before the first step the lead is NaN, which is neither above nor below a threshold.
        values = self.latest.tolist()
        lead = values[0]
        if self.measure == "loss_ratio":
            generator_loss, discriminator_loss = values
            lead = generator_loss / discriminator_loss if discriminator_loss else math.inf
        too_far_ahead = {"discriminator": lead > self.high, "generator": lead < self.low}
        return not too_far_ahead.get(player, False)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player not in self.players:
            return terms
        if self.measure == "loss_ratio":
            loss = torch.stack([at_least_float32(term.detach()).mean() for term in terms.values()]).sum()
            self.latest[0 if turn.player == "generator" else 1] = mean_over_processes(loss)
        # The generator's turn measures the lead only if the discriminator has skipped this step.
        elif turn.of_discriminator or self.measured_step != turn.step:
            lead = accuracy(turn) if self.measure == "accuracy" else ranking(turn)
            self.latest[0] = mean_over_processes(lead)
        self.measured_step = turn.step
        return terms


@torch.no_grad()
def accuracy(turn: Turn) -> Tensor:
    """The mean of the accuracies on real samples and on fakes, a scalar; a logit of 0 is wrong for both."""
    on_real, on_fake = (turn.on_real.logits > 0).float().mean(), (turn.on_fake.logits < 0).float().mean()
    return (on_real + on_fake) / 2


@torch.no_grad()
def ranking(turn: Turn) -> Tensor:
    """The fraction of pairs whose real sample has the higher logit, a scalar; a tie counts as half a pair.

    The i-th real sample and the i-th fake are a pair.
    """
    gap = at_least_float32(turn.on_real.logits) - at_least_float32(turn.on_fake.logits)
    return (1 + gap.sign()).mean() / 2
