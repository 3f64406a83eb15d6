from torch import Tensor

from ganlab.core.gradients import input_gradients, interpolate_samples
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.validation import Count
from ganlab.tricks.base import Capability, GradientRegulariser, Turn


class ZeroCentredPenalty(GradientRegulariser):
    """Adds `weight` * E |grad D|^2 between real and fake samples (0-GP, Thanh-Tung, Tran & Venkatesh 2019).

    For each pair of a real sample and a fake, the gradient is taken at a point that is drawn uniformly from
    the line between them. The point has the real sample's condition. The gradient is that of the logits. The
    authors' code takes the gradient of sigmoid(logits), which vanishes where the discriminator is confident.
    """

    needs = GradientRegulariser.needs | {Capability.APART}

    def __init__(self, weight: ScheduleLike, every: Count):
        super().__init__("zero_centred_penalty", nonzero_schedule(".weight", weight), every)

    def penalty(self, turn: Turn) -> Tensor:
        points = interpolate_samples(turn, stream=self.name, n=len(turn.on_real.logits))
        return input_gradients(turn.judge(points).logits, points.x).square().sum(1)
