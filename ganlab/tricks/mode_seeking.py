from torch import Tensor

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Turn, at_least_float32
from ganlab.core.validation import Positive
from ganlab.tricks.base import Terms, Trick


class ModeSeeking(Trick):
    """The generator is trained so that fakes differ as much as their latents (Mao et al. 2019).

    Adds weight / (d(G(z), G(z')) / d(z, z') + eps) to the generator's loss, where d is the mean absolute
    difference over all elements of the global batch; z and z' have the same condition. This is the loss of
    the paper's code; the paper maximises the mean of the pairs' ratios (equation 3). The trick costs one more
    pass of the generator, whose samples G(z') are not judged.
    """

    players = ("generator",)

    def __init__(self, weight: ScheduleLike, eps: Positive):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.eps = eps

    def terms(self, turn: Turn) -> Terms:
        # z is drawn here, so that it comes before z' even if the objective has not used it yet.
        latent, fake = turn.latent, turn.generated.x
        other = turn.replace(real=turn.real)  # replacing `real` drops the latents, so z' is drawn
        ratio = mean_distance(fake, other.generated.x) / mean_distance(latent, other.latent)
        return {"mode_seeking": self.weight(turn.step) / (ratio + self.eps)}


def mean_distance(one: Tensor, other: Tensor) -> Tensor:
    """The mean absolute difference over all elements of two global batches, a scalar."""
    return mean_over_ranks((at_least_float32(one) - at_least_float32(other)).abs().mean())
