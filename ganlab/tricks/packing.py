from math import prod
from typing import Literal

from torch import nn

from ganlab.core.errors import ConfigError
from ganlab.core.turn import Capability, Networks, Sample, Turn
from ganlab.networks.base import add_inputs, input_layer
from ganlab.networks.minibatch import MinibatchStandardDeviation
from ganlab.tricks.base import Order, Trick


class Packing(Trick):
    """The discriminator judges `size` samples as one, all real or all fake (PacGAN, Lin et al. 2018).

    Neighbours in the batch, [B, C, ...], become one of `size` C channels, [B / size, size C, ...], and the
    layer that sees them is widened, which is the paper's whole change of the discriminator (section 2.1).
    There are as many verdicts, and targets, as packs; a penalty's slope is that of a pack over all of its
    numbers.

    The classes of a pack differ, so no class goes with it: whatever judges or decodes single samples is
    refused.
    """

    order = Order.RESHAPE
    needs = frozenset({Capability.DISCRIMINATOR})
    claims = frozenset({Capability.SINGLE_SAMPLES})

    def __init__(self, size: Literal[2, 3, 4], batch_size: int):
        super().__init__()
        self.size = size
        self.batch_size = batch_size
        self._check(batch_size)

    def networks(self, networks: Networks) -> Networks:
        for group in networks.required_discriminator.modules():
            if isinstance(group, MinibatchStandardDeviation):
                self._check_groups(group.size)
        layer = input_layer(networks.required_discriminator.body)
        shape = networks.generator.shape
        add_inputs(layer, (self.size - 1) * (shape[0] if isinstance(layer, nn.Conv2d) else prod(shape)))
        return networks

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        self._check(len(sample.x))
        return Sample(sample.x.reshape(-1, self.size * sample.x.shape[1], *sample.x.shape[2:]))

    def _check_groups(self, group_size: int) -> None:
        packs = self.batch_size // self.size
        if packs % group_size:
            raise ConfigError(
                f"trick.minibatch_stddev.group_size={group_size} does not divide the {packs} packs that "
                f"trick.packing.size={self.size} makes of a batch of {self.batch_size}: change one of these, "
                "or data.batch_size"
            )

    def _check(self, batch_size: int) -> None:
        if batch_size % self.size:
            raise ConfigError(
                f"trick.packing.size={self.size} does not divide a batch of {batch_size} on one process: "
                "change data.batch_size, or the number of processes"
            )
