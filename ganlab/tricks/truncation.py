from copy import copy
from typing import cast

from torch import nn

from ganlab.core.errors import require
from ganlab.core.validation import Positive
from ganlab.networks import priors
from ganlab.networks.base import Generator
from ganlab.tricks.base import Capability, Networks, Order, Trick


class Truncation(Trick):
    """Samples are drawn with truncated normal latents (Brock et al. 2019, section 3.1).

    Each element of a latent has a normal distribution that is truncated to [-threshold, threshold]. A smaller
    threshold gives samples of higher quality and lower diversity. Training is unchanged.
    """

    order = Order.LAST
    needs = frozenset({Capability.LATENT})

    def __init__(self, threshold: Positive):
        super().__init__()
        self.prior = priors.TruncatedNormal(threshold)

    def networks(self, networks: Networks) -> None:
        is_normal = isinstance(networks.generator.prior, priors.Normal)
        remedy = "remove the trick, or add model/prior@model.generator.prior=normal"
        require(is_normal, "needs normal latents", remedy)

    def presented(self, name: str, network: nn.Module) -> nn.Module:
        if name != "generator":
            return network
        truncated = cast(Generator, copy(network))  # shares all weights and layers
        truncated.prior = self.prior
        return truncated
