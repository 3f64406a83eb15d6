from math import prod
from typing import Literal

from torch import nn

from ganlab.core.turn import Capability, Networks
from ganlab.networks.base import add_inputs, input_layer
from ganlab.networks.class_conditioning import (
    ConcatImage,
    ConcatVector,
    EmbedImage,
    EmbedVector,
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

    def networks(self, networks: Networks) -> Networks:
        discriminator, num_classes = networks.required_discriminator, networks.num_classes
        assert num_classes is not None
        condition_generator(networks.generator, self.generator_mode, num_classes)
        if self.discriminator_mode == "projection":
            discriminator.scores.append(Projection(num_classes, discriminator.num_features))
            return networks
        layer, shape = input_layer(discriminator.body), networks.generator.shape
        is_image = isinstance(layer, nn.Conv2d)
        if self.discriminator_mode == "concat":
            add_inputs(layer, num_classes)
            discriminator.inputs.append((ConcatImage if is_image else ConcatVector)(num_classes))
        else:
            size = prod(shape[1:] or shape)  # of one channel; a vector is one
            add_inputs(layer, 1 if is_image else size)
            discriminator.inputs.append((EmbedImage if is_image else EmbedVector)(num_classes, size))
        return networks
