import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, as_schedule
from ganlab.core.turn import Capability, Targets, Turn
from ganlab.tricks.base import Trick


class NoisyLabels(Trick):
    """Targets are drawn from ranges, and now and then swapped (Chintala et al. 2016, ganhacks 6).

    A target t becomes t R + (1 - t) F, R uniform in `real` and F in `fake`, after it was exchanged for 1 - t
    with probability `flip`; each verdict has draws of its own. The gradient is linear in the target, so
    on average it is that of the mean targets: a range may leave [0, 1], its mean may not, or the cross
    entropy would have no lower bound.
    """

    needs = frozenset({Capability.TARGETS})

    def __init__(self, real: tuple[float, float], fake: tuple[float, float], flip: float | Schedule):
        super().__init__()
        self.real = interval("trick.noisy_labels.real", real)
        self.fake = interval("trick.noisy_labels.fake", fake)
        self.flip = as_schedule(".flip", flip, "[0, 0.5]")
        often = self.flip.maximum
        if often >= 0.5:
            raise ConfigError(
                f"trick.noisy_labels.flip={often:g} must be a number of at least 0 and below 0.5"
            )
        if sum(self.fake) >= sum(self.real):
            raise ConfigError(
                f"trick.noisy_labels.fake={list(fake)} must lie below real={list(real)} on average, or the "
                "discriminator would learn nothing"
            )
        if self.real == (1, 1) and self.fake == (0, 0) and often == 0:
            raise ConfigError("trick.noisy_labels would do nothing: widen a range, or give flip")

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        return Targets(self._drawn(targets.real, turn), self._drawn(targets.fake, turn))

    def _drawn(self, target: Tensor, turn: Turn) -> Tensor:
        flip, real, fake = (turn.random.uniform("noisy_labels", *target.shape) for _ in range(3))
        target = torch.where(flip < self.flip(turn.step), 1 - target, target)
        drawn = target * between(self.real, real) + (1 - target) * between(self.fake, fake)
        return drawn.to(target.dtype)


def between(ends: tuple[float, float], share: Tensor) -> Tensor:
    low, high = ends
    return low + (high - low) * share


def interval(name: str, ends: tuple[float, float]) -> tuple[float, float]:
    """Two ends in their order, whose mean is a probability."""
    low, high = ends
    if low > high or not 0 <= (low + high) / 2 <= 1:
        raise ConfigError(f"{name}={ends} must be two ends, the lower first, with a mean in [0, 1]")
    return float(low), float(high)
