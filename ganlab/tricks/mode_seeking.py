from torch import Tensor

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import mean_over_processes
from ganlab.core.schedules import ScheduleLike
from ganlab.core.validation import Positive
from ganlab.tricks.base import Capability, Terms, Turn, WeightedTrick


class ModeSeeking(WeightedTrick):
    """The generator is trained so that fakes differ as much as their latents (Mao et al. 2019).

    Adds `weight` / (d(G(z), G(z')) / d(z, z') + `eps`) to the generator's loss, where d is the mean absolute
    difference over all elements of the global batch, and z and z' are two latents for the same condition.
    This is the loss of the authors' code; equation 3 of the paper maximises the mean ratio of the pairs. The
    trick costs one more pass of the generator, whose samples G(z') are not judged.
    """

    players = ("generator",)
    needs = frozenset({Capability.TRAINED_GENERATOR, Capability.LATENT})

    def __init__(self, weight: ScheduleLike, eps: Positive):
        super().__init__(weight)
        self.eps = eps

    def terms(self, turn: Turn) -> Terms:
        # If the objective has not used z yet, z is drawn here, so that it always comes before z'.
        latent, fake = turn.latent, turn.generated.x
        second_turn = turn.with_new_latents()
        ratio = mean_distance(fake, second_turn.generated.x) / mean_distance(latent, second_turn.latent)
        return {"mode_seeking": self.weight(turn.step) / (ratio + self.eps)}


def mean_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference between the elements of two global batches, a scalar."""
    return mean_over_processes((at_least_float32(a) - at_least_float32(b)).abs().mean())
