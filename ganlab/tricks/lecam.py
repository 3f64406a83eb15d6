import torch
from torch import nn

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import mean_over_processes
from ganlab.core.schedules import ScheduleLike, as_schedule
from ganlab.tricks.base import Capability, Networks, Player, Terms, Turn, WeightedTrick


class LeCam(WeightedTrick):
    """The logits on real samples and on fakes are pulled to each other's averages (Tseng et al. 2021).

    Adds `weight` * (E |D(x) - a_fake|^2 + E |D(G(z)) - a_real|^2) to the discriminator's loss (equation 3).
    D(x) is the discriminator's logit. a_fake and a_real are exponential moving averages of the mean logits on
    fakes and on real samples of the global batches, including the current batch. The averages carry no
    gradient, and are corrected for their initial zeros. After t updates, the batch of i updates ago has the
    weight `decay`^i * (1 - `decay`) / (1 - `decay`^t).
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.APART, Capability.LOSS_ON_LOGITS})
    players = ("discriminator",)
    saved_attributes = ("num_updates",)

    def __init__(self, weight: ScheduleLike, decay: ScheduleLike):
        super().__init__(weight)
        self.decay = as_schedule(".decay", decay, "(0, 1)")
        self.averages = nn.Buffer(torch.zeros(2))  # the average logit on real samples, and that on fakes
        # The averages including the batch of the current turn. They become `averages` after the update.
        self.latest = nn.Buffer(torch.zeros(2))
        self.num_updates = 0  # the number of updates of the discriminator

    def terms(self, turn: Turn) -> Terms:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        means = mean_over_processes(torch.stack([real.detach().mean(), fake.detach().mean()]))
        decay = self.decay(turn.step)
        weight_of_batch = (1 - decay) / (1 - decay ** (self.num_updates + 1))
        averages = self.averages.lerp(means.to(self.averages), weight_of_batch)
        if not turn.is_unrolled:
            self.latest.copy_(averages)
        real_average, fake_average = averages
        penalty = (real - fake_average).square() + (fake - real_average).square()
        return {"lecam": self.weight(turn.step) * penalty}

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator":
            self.num_updates += 1
            self.averages.copy_(self.latest)
