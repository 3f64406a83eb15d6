import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike, as_schedule
from ganlab.core.turn import Capability, Targets, Turn
from ganlab.tricks.base import Trick


class NoisyLabels(Trick):
    """Targets are drawn from ranges, and occasionally flipped (Chintala et al. 2016, ganhacks 6).

    A target t is first replaced by 1 - t with probability `flip`, and then by t R + (1 - t) F, where R is
    uniform in the range `real` and F in `fake`; both are drawn for each verdict. The gradient is linear in
    the target, so the mean gradient is that of the mean targets. A range may therefore exceed [0, 1], but its
    mean may not, because the cross entropy would then have no lower bound.
    """

    needs = frozenset({Capability.TARGETS})

    def __init__(self, real: tuple[float, float], fake: tuple[float, float], flip: ScheduleLike):
        super().__init__()
        for key, (low, high) in ((".real", real), (".fake", fake)):
            valid = low <= high and 0 <= (low + high) / 2 <= 1
            require(valid, key, (low, high), "must be a lower and an upper end with a mean in [0, 1]")
        reason = f"must have a lower mean than real={list(real)}, or the discriminator would learn nothing"
        require(sum(fake) < sum(real), ".fake", fake, reason)
        self.real, self.fake = real, fake
        self.flip = as_schedule(".flip", flip, "[0, 0.5)")
        useful = (*real, *fake, self.flip.maximum) != (1, 1, 0, 0, 0)
        reason = "has no effect together with real=[1,1] and fake=[0,0]"
        require(useful, ".flip", 0, reason, "set a positive flip, or a wider range")

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        return Targets(self._randomise(targets.real, turn), self._randomise(targets.fake, turn))

    def _randomise(self, target: Tensor, turn: Turn) -> Tensor:
        flip, real, fake = (turn.random.uniform("noisy_labels", *target.shape) for _ in range(3))
        target = torch.where(flip < self.flip(turn.step), 1 - target, target)
        noisy = target * scale_to(real, *self.real) + (1 - target) * scale_to(fake, *self.fake)
        return noisy.to(target.dtype)


def scale_to(uniform: Tensor, low: float, high: float) -> Tensor:
    """Maps numbers in [0, 1) linearly to [low, high)."""
    return low + (high - low) * uniform
