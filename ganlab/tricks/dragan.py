from torch import Tensor

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.gradients import input_gradients, row_norms
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Turn, at_least_float32
from ganlab.core.validation import Count
from ganlab.tricks.gradient_regulariser import GradientRegulariser


class DRAGAN(GradientRegulariser):
    """Adds the penalty weight E (|grad D| - target)^2 around real samples (Kodali et al. 2017).

    As in the authors' code, a point is drawn uniformly from the line between a real sample x and
    x + size std U, where each element of U is uniform in [0, 1). std is the standard deviation of all
    elements of the global batch, with the divisor n (StudioGAN has n - 1). The paper's text has Gaussian
    noise.
    """

    def __init__(self, weight: ScheduleLike, target: ScheduleLike, size: ScheduleLike, every: Count):
        super().__init__("dragan", nonzero_schedule(".weight", weight), every)
        self.target = nonzero_schedule(".target", target)
        self.size = nonzero_schedule(".size", size)

    def penalty(self, turn: Turn) -> Tensor:
        x, n = turn.real.x.detach(), len(turn.on_real.logits)
        noise = turn.random.uniform("dragan", *x.shape).to(x.dtype)
        share = turn.random.uniform("dragan", n, *[1] * (x.ndim - 1)).to(x.dtype)
        share = share.repeat_interleave(len(x) // n, 0)  # all samples of a pack have the same
        x32 = at_least_float32(x)
        std = mean_over_ranks((x32 - mean_over_ranks(x32.mean())).square().mean()).sqrt()
        x = (x + share * self.size(turn.step) * std * noise).requires_grad_()
        norms = row_norms(input_gradients(turn.judge(turn.real._replace(x=x)).logits, x))
        return (norms - self.target(turn.step)).square()
