from math import prod
from typing import Literal

from torch import nn

from ganlab.core.turn import Capability, Networks
from ganlab.networks.base import Discriminator, add_inputs, input_layer
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
        assert networks.num_classes is not None
        condition_generator(networks.generator, self.generator_mode, networks.num_classes)
        discriminator, num_classes = networks.required_discriminator, networks.num_classes
        if self.discriminator_mode == "projection":
            discriminator.scores.append(Projection(num_classes, discriminator.num_features))
        elif self.discriminator_mode == "concat":
            concat_classes(discriminator, num_classes)
        else:
            shape = networks.generator.shape
            embed_classes(discriminator, num_classes, prod(shape[1:] or shape))  # a vector is one channel
        return networks


def concat_classes(discriminator: Discriminator, num_classes: int) -> None:
    """Appends one-hot classes to the discriminator's inputs."""
    layer = input_layer(discriminator.body)
    add_inputs(layer, num_classes)
    concat = ConcatImage if isinstance(layer, nn.Conv2d) else ConcatVector
    discriminator.inputs.append(concat(num_classes))


def embed_classes(discriminator: Discriminator, num_classes: int, size: int) -> None:
    """Appends class embeddings of `size` elements to the discriminator's inputs"""
    layer = input_layer(discriminator.body)
    is_image = isinstance(layer, nn.Conv2d)
    add_inputs(layer, 1 if is_image else size)
    discriminator.inputs.append((EmbedImage if is_image else EmbedVector)(num_classes, size))
