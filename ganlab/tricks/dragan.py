from torch import Tensor

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.gradients import input_gradients, row_norms
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Sample, Turn, at_least_float32
from ganlab.core.validation import Count
from ganlab.tricks.gradient_regulariser import GradientRegulariser


class DRAGAN(GradientRegulariser):
    """weight E (|grad D| - target)^2 around real samples (Kodali et al. 2017).

    As in the authors' code a point is drawn uniformly from the line between a real sample x and
    x + size std U, with one U(0, 1) for each number of the sample and the std of all numbers of the global
    batch, which divides by their number n (StudioGAN's by n - 1). The paper's text has Gaussian noise.
    """

    def __init__(
        self, weight: float | Schedule, target: float | Schedule, size: float | Schedule, every: Count
    ):
        super().__init__("dragan", nonzero_schedule(".weight", weight), every)
        self.target = nonzero_schedule(".target", target)
        self.size = nonzero_schedule(".size", size)

    def penalty(self, turn: Turn) -> Tensor:
        points = self._around(turn)
        return (
            row_norms(input_gradients(turn.judge(points).logits, points.x)) - self.target(turn.step)
        ).square()

    def _around(self, turn: Turn) -> Sample:
        x = turn.real.x.detach()
        n = len(turn.on_real.logits)
        noise = turn.random.uniform("dragan", *x.shape).to(x.dtype)
        share = turn.random.uniform("dragan", n, *[1] * (x.ndim - 1)).to(x.dtype)
        share = share.repeat_interleave(len(x) // n, 0)  # one for all samples of a pack
        points = x + share * self.size(turn.step) * spread(x) * noise
        return turn.real._replace(x=points.requires_grad_())


def spread(x: Tensor) -> Tensor:
    """The standard deviation, without Bessel's correction, of all numbers of the global batch."""
    x = at_least_float32(x)
    return mean_over_ranks((x - mean_over_ranks(x.mean())).square().mean()).sqrt()
