"""The objective of an encoder for a trained generator, which stays as it is."""

from typing import ClassVar

from torch import Tensor

from ganlab.core.batch import at_least_float32
from ganlab.core.validation import NotNegative
from ganlab.objectives.base import LossWeights, Objective, Players, Turn


class Inversion(Objective):
    """The encoder of f-AnoGAN (Schlegl et al. 2019): samples encoded and generated again resemble themselves.

    The loss is |x - G(E(x))|^2 / n + `kappa` |f(x) - f(G(E(x)))|^2 / m, [B] each (equation 4). Here f are the
    m features of the discriminator, and n is the number of elements of x. Only E is trained.

    Args:
        kappa: the weight of the features. With 0 (their izi, equation 3) there is no discriminator.
    """

    players: ClassVar[Players] = {"encoder": ("encoder",)}

    def __init__(self, kappa: NotNegative, weight: LossWeights):
        super().__init__(weight)
        self.kappa = kappa
        self.frozen = ("generator", "discriminator") if kappa else ("generator",)

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        real, decoded = turn.real, turn.decoded
        terms = {"reconstruction": mean_squares(decoded.x - real.x)}
        if self.kappa:
            difference = turn.judge(decoded).features - turn.judge(real).features
            terms["features"] = self.kappa * mean_squares(difference)
        return terms


def mean_squares(x: Tensor) -> Tensor:
    """The mean square of the elements of each row, [B, ...] -> [B]."""
    return at_least_float32(x).square().flatten(1).mean(1)
