import math
from typing import Literal

import torch
from torch import Tensor

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.errors import ConfigError
from ganlab.core.turn import Capability, Player, Turn, at_least_float32
from ganlab.core.validation import Positive
from ganlab.tricks.base import Compute, Order, Terms, Trick

By = Literal["accuracy", "ranking", "loss_ratio"]


class AdaptiveBalance(Trick):
    """A player that is too far ahead sits the next round out.

    A number that grows with the discriminator's lead is taken in each round, over the global batch: above
    `high` the discriminator sits out, below `low` the generator. As long as one sits, the other moves.
    In 3D-GAN a discriminator that is right too often sits out (Wu et al. 2016, section 3.1); ganhacks 11
    advises against rules of this kind.

    by: `accuracy`, how often the discriminator is right: the mean of the share of real samples with a logit
        above 0 and that of fakes with one below. `ranking`, how often a real sample has a higher logit than
        the fake beside it, where logits have no sign. Both are 1/2 where the discriminator cannot tell, and
        cost a pass in rounds in which it sits. `loss_ratio`: the sum of the generator's terms over that of
        the discriminator's; who sits keeps its last.
    low, high: null for either lets that player always move.
    """

    order = Order.PRESENT  # outside of unrolled steps, which are no moves
    claims = frozenset({Capability.MOVE_CONTROL})
    latest: Tensor

    def __init__(self, by: By, low: Positive | None, high: Positive | None):
        super().__init__()
        self.needs = NEEDS[by]
        self.by = by
        self.low, self.high = check(by, low, high)
        # The share, or the losses of generator and discriminator; NaN as long as there is none.
        self.register_buffer("latest", torch.full((2 if by == "loss_ratio" else 1,), math.nan))
        self._known = -1, math.nan  # a round, and how far the discriminator is ahead in it
        self.judged = -1  # the last round in which the discriminator moved

    def plays(self, player: Player, step: int) -> bool:
        if self._known[0] != step:  # both players are asked: one wait for the device, not two
            self._known = step, self._lead()
        lead = self._known[1]
        return not (lead > self.high if player == "discriminator" else lead < self.low)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if self.by == "loss_ratio":
            loss = torch.stack([at_least_float32(term.detach()).mean() for term in terms.values()]).sum()
            self.latest[int(turn.player == "discriminator")] = mean_over_ranks(loss)
        elif turn.player == "discriminator" or self.judged != turn.step:
            self.latest[0] = mean_over_ranks(SHARES[self.by](turn))
        self.judged = turn.step
        return terms

    def _lead(self) -> float:
        """How far the discriminator is ahead; NaN, which is neither above nor below, where none is known."""
        generator, *discriminator = self.latest.tolist()
        if not discriminator:
            return generator
        return generator / discriminator[0] if discriminator[0] else math.inf


@torch.no_grad()
def accuracy(turn: Turn) -> Tensor:
    """The share of samples that are taken for what they are, both kinds counting as much; 0 is no answer."""
    right = turn.on_real.logits > 0, turn.on_fake.logits < 0
    return torch.stack([kind.float().mean() for kind in right]).mean()


@torch.no_grad()
def ranking(turn: Turn) -> Tensor:
    """The share of pairs in which the real sample is ahead; a tie counts half."""
    gap = at_least_float32(turn.on_real.logits) - at_least_float32(turn.on_fake.logits)
    return (1 + gap.sign()).mean() / 2


def check(by: By, low: float | None, high: float | None) -> tuple[float, float]:
    """Thresholds between which both players move; what is null is never passed."""
    if low is None and high is None:
        raise ConfigError("trick.adaptive_balance.low=null and high=null would do nothing: give one of them")
    for name, value in (("low", low), ("high", high)):
        if by != "loss_ratio" and value is not None and value >= 1:
            raise ConfigError(f"trick.adaptive_balance.{name}={value} must be a number in (0, 1)")
    lower, upper = -math.inf if low is None else low, math.inf if high is None else high
    if lower >= upper:
        raise ConfigError(
            f"trick.adaptive_balance.low={low} must be less than high={high}, or nobody would move"
        )
    return lower, upper


SHARES = {"accuracy": accuracy, "ranking": ranking}
NEEDS = {
    "accuracy": frozenset({Capability.DISCRIMINATOR, Capability.SCORES, Capability.SIGNS}),
    "ranking": frozenset({Capability.DISCRIMINATOR, Capability.SCORES}),
    "loss_ratio": frozenset({Capability.DISCRIMINATOR, Capability.COSTS}),
}
