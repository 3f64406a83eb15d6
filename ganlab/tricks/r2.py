from torch import Tensor

from ganlab.core.gradients import input_gradients
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.validation import Count
from ganlab.tricks.base import GradientRegulariser, Turn


class R2(GradientRegulariser):
    """Adds `gamma` / 2 * E |grad D(G(z))|^2 at fakes (Mescheder, Geiger & Nowozin 2018, equation 10).

    R1 and R2 together regularise R3GAN (Huang et al. 2025). Like R1, R2 adds no pass through the
    discriminator. The fakes are those that the discriminator judges, including fakes of a replay buffer. The
    generator gets no gradient from the penalty, unless the discriminator is unrolled.
    """

    differentiates_inputs = True

    def __init__(self, gamma: ScheduleLike, every: Count):
        super().__init__("r2", nonzero_schedule(".gamma", gamma), every)

    def penalty(self, turn: Turn) -> Tensor:
        return input_gradients(turn.on_fake.logits, turn.fake.x).square().sum(1) / 2
