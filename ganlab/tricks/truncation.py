from copy import copy
from typing import cast

from torch import nn

from ganlab.core.errors import ConfigError
from ganlab.core.turn import Networks
from ganlab.core.validation import Positive
from ganlab.networks.base import Generator
from ganlab.networks.priors import Normal, TruncatedNormal
from ganlab.tricks.base import Order, Trick


class Truncation(Trick):
    """Samples come from latents of which no number exceeds `threshold` (Brock et al. 2019, section 3.1).

    Normal numbers beyond it are redrawn until they lie within it: the less is left of the latents, the
    better and the more alike the samples are. Training is untouched.
    """

    order = Order.PRESENT

    def __init__(self, threshold: Positive):
        super().__init__()
        self.prior = TruncatedNormal(threshold)

    def networks(self, networks: Networks) -> Networks:
        if not isinstance(networks.generator.prior, Normal):
            raise ConfigError(
                "trick truncation needs normal latents: leave it out, or add "
                "model/prior@model.generator.prior=normal"
            )
        return networks

    def sampler(self, generator: nn.Module) -> nn.Module:
        shown = cast(Generator, copy(generator))  # shares all weights and layers
        shown.prior = self.prior
        return shown
