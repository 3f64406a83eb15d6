import torch
from torch import Tensor

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.schedules import Schedule, as_schedule, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Player, Turn, at_least_float32
from ganlab.tricks.base import Compute, Terms, Trick


class LeCam(Trick):
    """weight (E |D(x) - fake average|^2 + E |D(G(z)) - real average|^2) (Tseng et al. 2021, equation 3).

    The averages are moving ones of the discriminator's logits on the other kind of samples, over the
    global batch and with this move's in them; they are held constant. After t moves those of i moves ago
    weigh decay^i (1 - decay) / (1 - decay^t), so no average remembers a zero that it began with.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SCORES})
    counts = ("moves",)
    averages: Tensor
    latest: Tensor

    def __init__(self, weight: float | Schedule, decay: float | Schedule):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.decay = as_schedule(".decay", decay, "(0, 1)")
        self.register_buffer("averages", torch.zeros(2))  # of the logits on real samples and on fakes
        self.register_buffer("latest", torch.zeros(2))  # the same with the move that is under way
        self.moves = 0

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "generator":
            return terms
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        now = self._followed(real, fake, turn.step)
        if not turn.is_ahead:
            self.latest.copy_(now)
        penalty = (real - now[1]).square() + (fake - now[0]).square()
        return {**terms, "lecam": self.weight(turn.step) * penalty}

    @torch.no_grad()
    def _followed(self, real: Tensor, fake: Tensor, step: int) -> Tensor:
        """The averages with this batch in them, [2]."""
        means = mean_over_ranks(torch.stack([real.mean(), fake.mean()]))
        decay = self.decay(step)
        return self.averages.lerp(means.to(self.averages), (1 - decay) / (1 - decay ** (self.moves + 1)))

    def after(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator":
            self.moves += 1
            self.averages.copy_(self.latest)
