from torch import nn

from ganlab.core.turn import Capability, Networks
from ganlab.core.validation import TwoOrMore
from ganlab.networks.base import add_inputs, replace_modules
from ganlab.networks.minibatch import MinibatchStandardDeviation, refuse_partial_groups
from ganlab.tricks.base import Trick


class MinibatchStddev(Trick):
    """Appends the minibatch standard deviation as a feature map (Karras et al. 2018, section 3).

    The map is one more channel or feature of the input of the last layer in the discriminator's body. It
    holds the standard deviation within groups of `group_size` consecutive samples of the batch, averaged over
    features and positions.
    """

    needs = frozenset({Capability.DISCRIMINATOR})

    def __init__(self, group_size: TwoOrMore, batch_size: int):
        super().__init__()
        self.group_size = group_size
        refuse_partial_groups(group_size, batch_size)

    def networks(self, networks: Networks) -> Networks:
        body = networks.required_discriminator.body
        *_, last = [layer for layer in body.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]

        def extended(layer: nn.Module) -> nn.Module:
            if layer is not last:
                return layer
            return nn.Sequential(MinibatchStandardDeviation(self.group_size), layer)

        add_inputs(last, 1)
        replace_modules(body, type(last), extended)
        return networks
