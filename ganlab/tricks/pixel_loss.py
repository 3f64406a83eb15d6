from ganlab.core.batch import at_least_float32
from ganlab.tricks.base import Capability, Terms, Turn, WeightedTrick


class PixelLoss(WeightedTrick):
    """The generator is trained to make what the real sample of the same condition is (Isola et al. 2017).

    Adds `weight` * mean |x - G(z, c)| to the generator's loss, where x is the real sample that answers the
    condition c, and the mean is over all elements (equation 3).
    """

    players = ("generator",)
    needs = frozenset({Capability.TRAINED_GENERATOR, Capability.PAIRS})

    def terms(self, turn: Turn) -> Terms:
        difference = at_least_float32(turn.generated.x) - at_least_float32(turn.batch.real.x)
        return {"pixel_loss": self.weight(turn.step) * difference.abs().flatten(1).mean(1)}
