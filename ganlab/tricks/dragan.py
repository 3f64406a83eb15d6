from torch import Tensor

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import mean_over_processes
from ganlab.core.gradients import input_gradients, row_norms
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.validation import Count
from ganlab.tricks.base import GradientRegulariser, Turn


class DRAGAN(GradientRegulariser):
    """Adds `weight` * E (|grad D| - `target`)^2 around real samples (DRAGAN, Kodali et al. 2017).

    As in the authors' code, the gradient is taken at a point that is drawn uniformly from the line between a
    real sample x and x + `size` * std * U. Each element of U is uniform in [0, 1), and std is the standard
    deviation of all n elements of the global batch, with the divisor n; StudioGAN divides by n - 1. The text
    of the paper has Gaussian noise instead of U.
    """

    def __init__(self, weight: ScheduleLike, target: ScheduleLike, size: ScheduleLike, every: Count):
        super().__init__("dragan", nonzero_schedule(".weight", weight), every)
        self.target = nonzero_schedule(".target", target)
        self.size = nonzero_schedule(".size", size)

    def penalty(self, turn: Turn) -> Tensor:
        x = turn.real.x.detach()
        num_packs = len(turn.on_real.logits)  # without trick packing, each sample is a pack of its own
        noise = turn.random.uniform("dragan", *x.shape).to(x.dtype)
        position = turn.random.uniform("dragan", num_packs, *(1 for _ in x.shape[1:])).to(x.dtype)
        position = position.repeat_interleave(len(x) // num_packs, 0)  # one for all samples of a pack
        elements = at_least_float32(x)
        std = mean_over_processes((elements - mean_over_processes(elements.mean())).square().mean()).sqrt()
        points = (x + position * self.size(turn.step) * std * noise).requires_grad_()
        norms = row_norms(input_gradients(turn.judge(turn.real._replace(x=points)).logits, points))
        return (norms - self.target(turn.step)).square()
