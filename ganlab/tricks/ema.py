from copy import deepcopy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ganlab.schedules import Schedule, schedule
from ganlab.tricks.base import Order, Trick
from ganlab.turn import Networks, Player


class EMA(Trick):
    """Samples come from an exponential moving average of the generator (Yazici et al. 2019).

    average <- decay average + (1 - decay) weights, after each move of the generator; buffers are
    copied. The first move copies the weights, so the average never remembers the initialisation.
    """

    order = Order.OBSERVE

    def __init__(self, decay: float | Schedule):
        super().__init__()
        self.decay = schedule("trick.ema.decay", decay, low=0, high=1, strict=True)
        self.average: nn.Module = nn.Identity()
        self.moves = 0

    def networks(self, networks: Networks) -> Networks:
        self.average = deepcopy(networks.generator).requires_grad_(False)
        return networks

    @torch.no_grad()
    def after(self, player: Player, networks: Networks, step: int) -> None:
        if player != "generator":
            return
        decay = self.decay(step) if self.moves else 0.0
        self.moves += 1
        weights = list(networks.generator.parameters())
        get_ema_multi_avg_fn(decay)(list(self.average.parameters()), weights, 0)
        for mine, theirs in zip(self.average.buffers(), networks.generator.buffers(), strict=True):
            mine.copy_(theirs)

    def sampler(self, generator: nn.Module) -> nn.Module:
        return self.average

    def get_extra_state(self) -> dict[str, int]:
        return {"moves": self.moves}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.moves = state["moves"]
