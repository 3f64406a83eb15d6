from torch import Tensor

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Turn, at_least_float32
from ganlab.core.validation import Positive
from ganlab.tricks.base import Terms, Trick


class ModeSeeking(Trick):
    """Pairs of fakes with the same condition are pushed to differ as much as their latents (Mao et al. 2019).

    Adds weight / (d(G(z), G(z')) / d(z, z') + eps) to the generator's loss, where d is the mean absolute
    difference over all elements of the global batch. The paper maximises the mean ratio of the pairs
    (equation 3); its code minimises the inverse of the ratio of the means, as here. Costs one more pass of
    the generator, whose samples G(z') are not judged.
    """

    players = ("generator",)

    def __init__(self, weight: ScheduleLike, eps: Positive):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.eps = eps

    def terms(self, turn: Turn) -> Terms:
        latent, fake = turn.latent, turn.generated.x  # drawn before z', whichever of them the objective uses
        other = turn.replace(real=turn.real)  # the same turn with new latents
        ratio = mean_distance(fake, other.generated.x) / mean_distance(latent, other.latent)
        return {"mode_seeking": self.weight(turn.step) / (ratio + self.eps)}


def mean_distance(one: Tensor, other: Tensor) -> Tensor:
    """The mean absolute difference over all elements of two global batches, a scalar."""
    return mean_over_ranks((at_least_float32(one) - at_least_float32(other)).abs().mean())
