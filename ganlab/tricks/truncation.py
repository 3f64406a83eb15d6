import math
from copy import copy
from typing import cast

from torch import nn

from ganlab.errors import Refused
from ganlab.networks.base import Generator
from ganlab.networks.priors import Normal, TruncatedNormal
from ganlab.tricks.base import Order, Trick
from ganlab.turn import Networks


class Truncation(Trick):
    """Samples are made from latents of which no number is larger than `threshold` (Brock et al. 2019, 3.1).

    Normal numbers beyond it are drawn anew until they lie within: the less is left of the latents, the
    better and the more alike the samples are. Training is untouched.
    """

    order = Order.PRESENT

    def __init__(self, threshold: float):
        super().__init__()
        if (
            isinstance(threshold, bool)
            or not isinstance(threshold, int | float)
            or not 0 < threshold < math.inf
        ):
            raise Refused(f"trick.truncation.threshold={threshold} must be a positive number")
        self.prior = TruncatedNormal(threshold)

    def networks(self, networks: Networks) -> Networks:
        if not isinstance(networks.generator.prior, Normal):
            raise Refused(
                "trick truncation needs normal latents: leave it out, or set "
                "model.generator.prior._target_=ganlab.networks.priors.Normal '~model.generator.prior.bound'"
            )
        return networks

    def sampler(self, generator: nn.Module) -> nn.Module:
        shown = cast(Generator, copy(generator))  # shares all weights and layers
        shown.prior = self.prior
        return shown
