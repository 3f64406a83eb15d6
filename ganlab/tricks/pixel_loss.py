from typing import Literal

from ganlab.core.batch import at_least_float32
from ganlab.core.schedules import ScheduleLike
from ganlab.tricks.base import Capability, Terms, Turn, WeightedTrick


class PixelLoss(WeightedTrick):
    """The generator is trained to make what the real sample of the same condition is (Isola et al. 2017).

    Adds `weight` * mean |x - G(z, c)| to the generator's loss, where x is the real sample that answers the
    condition c, and the mean is over all elements (equation 3). Alone, it leads to the median of the samples
    that answer a condition.

    norm: L1 as above, or L2, the mean of (x - G(z, c))^2, which leads to their mean.
    """

    players = ("generator",)
    needs = frozenset({Capability.TRAINED_GENERATOR, Capability.PAIRS})

    # The default is the norm of runs whose configs lack it.
    def __init__(self, weight: ScheduleLike, norm: Literal["L1", "L2"] = "L1"):
        super().__init__(weight)
        self.norm = norm

    def terms(self, turn: Turn) -> Terms:
        difference = at_least_float32(turn.generated.x) - at_least_float32(turn.batch.real.x)
        errors = difference.abs() if self.norm == "L1" else difference.square()
        return {"pixel_loss": self.weight(turn.step) * errors.flatten(1).mean(1)}
