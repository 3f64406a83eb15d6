from functools import partial

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike, as_schedule
from ganlab.tricks.base import Capability, Targets, Trick, Turn


class NoisyLabels(Trick):
    """Targets are drawn from ranges, and occasionally flipped (Chintala et al. 2016, ganhacks 6).

    For each logit, R is drawn uniformly from the range `real`, and F from the range `fake`. A target t is
    first flipped to 1 - t with probability `flip`, and then replaced by t R + (1 - t) F. The gradient is
    linear in the target, so the mean gradient is that of the mean target. Therefore a range may exceed
    [0, 1], but its mean may not, because the cross entropy would then have no lower bound.
    """

    needs = frozenset({Capability.TARGETS})

    def __init__(self, real: tuple[float, float], fake: tuple[float, float], flip: ScheduleLike):
        super().__init__()
        for key, (low, high) in ((".real", real), (".fake", fake)):
            valid = low <= high and 0 <= (low + high) / 2 <= 1
            reason = "must be a lower and an upper end with a mean in [0, 1]"
            require(valid, reason, key=key, value=(low, high))
        reason = f"must have a lower mean than real={list(real)}; otherwise the discriminator learns nothing"
        require(sum(fake) < sum(real), reason, key=".fake", value=fake)
        self.real, self.fake = real, fake
        self.flip = as_schedule(".flip", flip, "[0, 0.5)")
        changes_targets = (*real, *fake) != (1, 1, 0, 0)
        reason = "has no effect together with real=[1,1] and fake=[0,0]"
        remedy = "set a positive flip, or a wider range"
        require(changes_targets or self.flip.maximum > 0, reason, remedy, ".flip", 0)

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        return Targets(self._randomise(targets.real, turn), self._randomise(targets.fake, turn))

    def _randomise(self, target: Tensor, turn: Turn) -> Tensor:
        draw = partial(turn.random.uniform, "noisy_labels", *target.shape)
        target = torch.where(draw() < self.flip(turn.step), 1 - target, target)
        real, fake = (low + (high - low) * draw() for low, high in (self.real, self.fake))
        return (target * real + (1 - target) * fake).to(target.dtype)
