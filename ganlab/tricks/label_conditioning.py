from math import prod
from typing import Literal

from torch import nn

from ganlab.core.turn import Capability, Networks
from ganlab.networks.base import add_inputs, input_layer
from ganlab.networks.class_conditioning import (
    AppendPlanes,
    AppendVector,
    GeneratorMode,
    Projection,
    condition_generator,
)
from ganlab.tricks.base import Trick


class LabelConditioning(Trick):
    """Both players are conditioned on the class of a sample (Mirza & Osindero 2014, equation 2).

    generator: `concat` (the latent and a one-hot vector), `embedding` (the latent times a class embedding) or
        `norm` (class-conditional gain and bias, Dumoulin et al. 2017).
    discriminator: `concat` (the sample and one-hot planes or columns), `embedding` (the sample and a learned
        plane as one more channel, Denton et al. 2015) or `projection` (Miyato & Koyama 2018).
    """

    needs = frozenset({Capability.LABELS, Capability.DISCRIMINATOR, Capability.SINGLE_SAMPLES})

    def __init__(self, generator: GeneratorMode, discriminator: Literal["concat", "embedding", "projection"]):
        super().__init__()
        self.generator_mode, self.discriminator_mode = generator, discriminator
        if discriminator == "projection":
            self.needs = self.needs | {Capability.SCORES}

    def networks(self, networks: Networks) -> None:
        discriminator, num_classes = networks.required_discriminator, networks.num_classes
        assert num_classes is not None
        condition_generator(networks.generator, self.generator_mode, num_classes)
        if self.discriminator_mode == "projection":
            discriminator.scores.append(Projection(num_classes, discriminator.num_features))
            return
        layer, shape = input_layer(discriminator.body), networks.generator.shape
        size = prod(shape[1:] or shape) if self.discriminator_mode == "embedding" else None  # of one channel
        if isinstance(layer, nn.Conv2d):
            add_inputs(layer, 1 if size else num_classes)
            discriminator.inputs.append(AppendPlanes(num_classes, size))
        else:
            add_inputs(layer, size or num_classes)
            discriminator.inputs.append(AppendVector(num_classes, size))
