from torch import Tensor

from ganlab.core.gradients import input_gradients
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.validation import Count
from ganlab.tricks.base import GradientRegulariser, Turn


class R1(GradientRegulariser):
    """Adds `gamma` / 2 * E |grad D(x)|^2 at real samples (Mescheder, Geiger & Nowozin 2018, equation 9).

    The norm is over all elements of a sample. The gradient is that of the logits that the objective uses, so
    the trick adds no pass through the discriminator.
    """

    differentiates_inputs = True

    def __init__(self, gamma: ScheduleLike, every: Count):
        super().__init__("r1", nonzero_schedule(".gamma", gamma), every)

    def penalty(self, turn: Turn) -> Tensor:
        return input_gradients(turn.on_real.logits, turn.real.x).square().sum(1) / 2
