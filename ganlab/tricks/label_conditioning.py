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

SETTING = "trick.label_conditioning.generator"
DiscriminatorWay = Literal["concat", "embedding", "projection"]


class LabelConditioning(Trick):
    """Both players see the class of a sample (Mirza & Osindero 2014, equation 2).

    generator: `concat` (one-hot beside the latent), `embedding` (latent times a class embedding) or `norm`
    (class-conditional gain and bias, Dumoulin et al. 2017).
    discriminator: `concat` (one-hot planes or columns beside the sample), `embedding` (a learned plane of the
    class as one more channel, Denton et al. 2015) or `projection` (Miyato & Koyama 2018).
    """

    needs = frozenset({Capability.LABELS, Capability.DISCRIMINATOR, Capability.SINGLE_SAMPLES})

    def __init__(self, generator: GeneratorMode, discriminator: DiscriminatorWay):
        super().__init__()
        self.generator_way = generator
        self.discriminator_way = discriminator
        if discriminator == "projection":
            self.needs = self.needs | {Capability.SCORES}

    def networks(self, networks: Networks) -> Networks:
        assert networks.num_classes is not None
        condition_generator(SETTING, self.generator_way, networks.generator, networks.num_classes)
        shape = networks.generator.shape
        DISCRIMINATOR_WAYS[self.discriminator_way](
            networks.required_discriminator, networks.num_classes, shape
        )
        return networks


def concat_sample(discriminator: Discriminator, num_classes: int, shape: tuple[int, ...]) -> None:
    layer = input_layer(discriminator.body)
    add_inputs(layer, num_classes)
    concat = ConcatImage if isinstance(layer, nn.Conv2d) else ConcatVector
    discriminator.inputs.append(concat(num_classes))


def embed_sample(discriminator: Discriminator, num_classes: int, shape: tuple[int, ...]) -> None:
    layer = input_layer(discriminator.body)
    plane = shape[1:] or shape  # a vector is one channel
    if isinstance(layer, nn.Conv2d):
        add_inputs(layer, 1)
        discriminator.inputs.append(EmbedImage(num_classes, prod(plane)))
    else:
        add_inputs(layer, prod(plane))
        discriminator.inputs.append(EmbedVector(num_classes, prod(plane)))


def project(discriminator: Discriminator, num_classes: int, shape: tuple[int, ...]) -> None:
    discriminator.scores.append(Projection(num_classes, discriminator.num_features))


DISCRIMINATOR_WAYS = {"concat": concat_sample, "embedding": embed_sample, "projection": project}
