"""A trick."""

from torch import Tensor

from ganlab.core.schedules import ScheduleLike, as_schedule
from ganlab.tricks.base import Trick, Turn


class LatentJitter(Trick):
    """Adds Gaussian noise of standard deviation `std` to the latents, and logs how far they then spread."""

    def __init__(self, std: ScheduleLike):
        super().__init__()
        self.std = as_schedule(".std", std, "[0, inf)")

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        latent = latent + self.std(turn.step) * turn.random.normal("latent_jitter", *latent.shape)
        turn.log("latent_jitter/spread", latent.std())  # a column of metrics.csv
        return latent
