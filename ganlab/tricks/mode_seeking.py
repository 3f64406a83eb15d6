from torch import Tensor

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Turn, at_least_float32
from ganlab.core.validation import Positive
from ganlab.tricks.base import Compute, Terms, Trick


class ModeSeeking(Trick):
    """The generator wants two fakes of one condition to differ as their latents do (Mao et al. 2019).

    It also minimises weight / (d(G(z), G(z')) / d(z, z') + eps), where d is the mean absolute difference of
    all numbers of the global batch: the paper seeks the largest mean ratio of the pairs (equation 3), and its
    code minimises the inverse of the ratio of the means. Costs another pass of the generator, whose second
    fakes nobody judges.
    """

    def __init__(self, weight: float | Schedule, eps: Positive):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.eps = eps

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "discriminator":
            return terms
        latent, made = turn.latent, turn.generated.x  # drawn first, whatever the objective asked for
        other = turn.replace(real=turn.real)  # as before, with nothing drawn
        ratio = gap(made, other.generated.x) / gap(latent, other.latent)
        return {**terms, "mode_seeking": self.weight(turn.step) / (ratio + self.eps)}


def gap(one: Tensor, other: Tensor) -> Tensor:
    """The mean absolute difference of all numbers of two global batches."""
    return mean_over_ranks((at_least_float32(one) - at_least_float32(other)).abs().mean())
