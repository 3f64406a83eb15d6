import torch

from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Player
from ganlab.networks.weights import refuse_normalised
from ganlab.tricks.base import Order, Trick


class WeightClip(Trick):
    """The discriminator's weights are clipped to [-bound, bound] after each of its moves.

    It bounds the slope (Arjovsky, Chintala & Bottou 2017, algorithm 1). Li et al. 2017 clip the encoder
    alone, so a decoder of the features is left free. The first clipping comes before the first move.
    """

    order = Order.CONSTRAIN
    needs = frozenset({Capability.DISCRIMINATOR})
    claims = frozenset({Capability.DISCRIMINATOR_SCALE})

    def __init__(self, bound: float | Schedule):
        super().__init__()
        self.bound = nonzero_schedule(".bound", bound)

    def networks(self, networks: Networks) -> Networks:
        refuse_normalised("weight_clip", networks.required_discriminator)
        self._clip(networks, 0)
        return networks

    def on_weights_loaded(self, networks: Networks) -> None:
        self._clip(networks, 0)

    def after(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator":
            self._clip(networks, step)

    @torch.no_grad()
    def _clip(self, networks: Networks, step: int) -> None:
        bound = self.bound(step)
        for name, weight in networks.required_discriminator.named_parameters():
            if not name.startswith("decoder."):
                weight.clamp_(-bound, bound)
