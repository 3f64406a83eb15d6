from math import prod
from typing import Literal

from torch import nn

from ganlab.core.validation import require_whole_groups
from ganlab.networks.base import add_network_inputs, input_layers
from ganlab.tricks.base import Capability, Networks, Order, Sample, Trick, Turn
from ganlab.tricks.minibatch_stddev import MinibatchStddevLayer


class Packing(Trick):
    """The discriminator judges `size` samples as one, all real or all fake (PacGAN, Lin et al. 2018).

    Consecutive samples of the batch are packed along the channels, [B, C, ...] -> [B / size, size * C, ...],
    and the first layer of the discriminator is widened, as in the paper (section 2.1). There is one
    verdict, and one target, per pack. Gradient penalties take the gradient with respect to all elements of a
    pack.

    The samples of a pack have different classes, so a pack has no class. Tricks that judge single samples, or
    reconstruct them, are refused.
    """

    order = Order.RESHAPE
    needs = frozenset({Capability.DISCRIMINATOR, Capability.APART})
    # There is no verdict on a single sample. The claim refuses tricks that need one.
    claims = frozenset({Capability.VERDICT_PER_SAMPLE})

    def __init__(self, size: Literal[2, 3, 4], batch_size: int):
        super().__init__()
        self.size, self.batch_size = size, batch_size
        require_whole_groups("size", size, batch_size, "samples")

    def networks(self, networks: Networks) -> None:
        for layer in networks.discriminator.modules():
            if isinstance(layer, MinibatchStddevLayer):  # its batches will be packs
                packs = self.batch_size // self.size
                require_whole_groups("group_size", layer.size, packs, "samples or packs")
        body, shape = networks.discriminator.body, networks.generator.shape
        is_convolutional = any(isinstance(layer, nn.Conv2d) for layer in input_layers(body))
        inputs_per_sample = shape[0] if is_convolutional else prod(shape)
        add_network_inputs(body, (self.size - 1) * inputs_per_sample)

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        require_whole_groups("size", self.size, len(sample.x), "samples")
        return Sample(sample.x.reshape(-1, self.size * sample.x.shape[1], *sample.x.shape[2:]))
