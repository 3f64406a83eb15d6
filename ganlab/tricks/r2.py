from torch import Tensor

from ganlab.core.gradients import input_gradients
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Turn
from ganlab.core.validation import Count
from ganlab.tricks.gradient_regulariser import GradientRegulariser


class R2(GradientRegulariser):
    """gamma / 2 E |grad D(G(z))|^2 at fakes (Mescheder, Geiger & Nowozin 2018, equation 10).

    Together with R1 it is the regulariser of R3GAN (Huang et al. 2025). Like R1 it adds no pass. The fakes
    are those that the discriminator judges, including those of a replay buffer. The generator has no
    gradient of the penalty unless the discriminator is unrolled.
    """

    differentiates_inputs = True

    def __init__(self, gamma: ScheduleLike, every: Count):
        super().__init__("r2", nonzero_schedule(".gamma", gamma), every)

    def penalty(self, turn: Turn) -> Tensor:
        return input_gradients(turn.on_fake.logits, turn.fake.x).square().sum(1) / 2
