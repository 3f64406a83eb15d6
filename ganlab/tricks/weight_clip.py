import torch

from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.networks.weights import refuse_normalised_weights
from ganlab.tricks.base import Capability, Networks, Order, Player, Trick


class WeightClip(Trick):
    """The discriminator's weights are clipped to [-bound, bound] after each update (Arjovsky et al. 2017).

    Clipping (algorithm 1) bounds the gradient of the discriminator. The initial weights are clipped too. The
    decoder of trick feature_autoencoder is not clipped, as in Li et al. 2017.
    """

    order = Order.CONSTRAIN
    needs = frozenset({Capability.DISCRIMINATOR})
    claims = frozenset({Capability.DISCRIMINATOR_WEIGHT_SCALE})

    def __init__(self, bound: ScheduleLike):
        super().__init__()
        self.bound = nonzero_schedule(".bound", bound)

    def networks(self, networks: Networks) -> None:
        refuse_normalised_weights(networks.discriminator)
        self.on_weights_loaded(networks)

    def on_weights_loaded(self, networks: Networks) -> None:
        self.after_update("discriminator", networks, step=0)

    @torch.no_grad()
    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player != "discriminator":
            return
        bound = self.bound(step)
        for name, weight in networks.discriminator.named_parameters():
            if not name.startswith("decoder."):
                weight.clamp_(-bound, bound)
