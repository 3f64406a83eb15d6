from typing import Literal

from torch import Tensor

from ganlab.core.gradients import input_gradients, interpolate_samples, row_norms
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.validation import Count
from ganlab.tricks.base import Capability, GradientRegulariser, Turn

Sides = Literal["two", "one"]


class GradientPenalty(GradientRegulariser):
    """Adds `weight` * E (|grad D| - `target`)^2 between data and fakes (WGAN-GP, Gulrajani et al. 2017).

    For each pair of a real sample and a fake, the gradient is taken at a point that is drawn uniformly from
    the line between them (equation 3). The point has the real sample's condition. The norm is over all
    elements of a point. The paper uses no batch norm in the discriminator, because the gradient at a sample
    would then depend on the other samples (section 4).

    sided: the sides of the target on which norms are penalised. `two`: above and below the target, as in the
        paper; `one`: only above it.
    """

    needs = GradientRegulariser.needs | {Capability.APART}

    def __init__(self, weight: ScheduleLike, target: ScheduleLike, sided: Sides, every: Count):
        super().__init__("gradient_penalty", nonzero_schedule(".weight", weight), every)
        self.target = nonzero_schedule(".target", target)
        self.sided = sided

    def penalty(self, turn: Turn) -> Tensor:
        points = interpolate_samples(turn, stream=self.name, n=len(turn.on_real.logits))
        excess = row_norms(input_gradients(turn.judge(points).logits, points.x)) - self.target(turn.step)
        return (excess if self.sided == "two" else excess.clamp_min(0)).square()
