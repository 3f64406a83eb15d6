from typing import Literal

from torch import nn

from ganlab.errors import Refused
from ganlab.networks.base import Discriminator, Generator, entry, swap, widen
from ganlab.networks.labels import (
    ConcatImage,
    ConcatLatent,
    ConcatVector,
    ConditionalNorm,
    EmbedLatent,
    Projection,
)
from ganlab.networks.norms import BATCH_NORMS, VirtualNorm
from ganlab.tricks.base import Trick
from ganlab.turn import Networks, Offer

GeneratorWay = Literal["concat", "embedding", "norm"]
DiscriminatorWay = Literal["concat", "projection"]


class LabelConditioning(Trick):
    """Both players see the class of a sample (Mirza & Osindero 2014, equation 2).

    generator: `concat` (one-hot beside the latent), `embedding` (latent times a class embedding) or `norm`
    (class-conditional gain and bias, Dumoulin et al. 2017).
    discriminator: `concat` (one-hot planes or columns beside the sample) or `projection`
    (Miyato & Koyama 2018).
    """

    needs = frozenset({Offer.LABELS, Offer.DISCRIMINATOR, Offer.SINGLE_SAMPLES})

    def __init__(self, generator: GeneratorWay, discriminator: DiscriminatorWay):
        super().__init__()
        if generator not in GENERATOR_WAYS:
            raise Refused(
                f"trick.label_conditioning.generator={generator} must be one of {', '.join(GENERATOR_WAYS)}"
            )
        if discriminator not in DISCRIMINATOR_WAYS:
            raise Refused(
                f"trick.label_conditioning.discriminator={discriminator} must be one of "
                f"{', '.join(DISCRIMINATOR_WAYS)}"
            )
        self.generator_way = generator
        self.discriminator_way = discriminator
        if discriminator == "projection":
            self.needs = self.needs | {Offer.SCORES}

    def networks(self, networks: Networks) -> Networks:
        assert networks.num_classes is not None
        assert networks.discriminator is not None
        GENERATOR_WAYS[self.generator_way](networks.generator, networks.num_classes)
        DISCRIMINATOR_WAYS[self.discriminator_way](networks.discriminator, networks.num_classes)
        networks.generator.num_classes = networks.num_classes
        return networks


def concat_latent(generator: Generator, num_classes: int) -> None:
    widen(entry(generator.body), num_classes)
    generator.latents.append(ConcatLatent(num_classes))


def embed_latent(generator: Generator, num_classes: int) -> None:
    generator.latents.append(EmbedLatent(num_classes, generator.latent_dim))


def condition_norm(generator: Generator, num_classes: int) -> None:
    def conditional(norm: nn.BatchNorm1d | nn.BatchNorm2d | VirtualNorm) -> nn.Module:
        assert norm.weight is not None
        channels = len(norm.weight)
        norm.weight = norm.bias = None  # type: ignore[assignment]
        return ConditionalNorm(norm, channels, num_classes)

    if not swap(generator.body, (*BATCH_NORMS, VirtualNorm), conditional):
        raise Refused(
            "trick.label_conditioning.generator=norm needs a generator with batch norm: choose concat or "
            "embedding, or model.generator.batch_norm=true"
        )


def concat_sample(discriminator: Discriminator, num_classes: int) -> None:
    layer = entry(discriminator.body)
    widen(layer, num_classes)
    concat = ConcatImage if isinstance(layer, nn.Conv2d) else ConcatVector
    discriminator.inputs.append(concat(num_classes))


def project(discriminator: Discriminator, num_classes: int) -> None:
    discriminator.scores.append(Projection(num_classes, discriminator.num_features))


GENERATOR_WAYS = {"concat": concat_latent, "embedding": embed_latent, "norm": condition_norm}
DISCRIMINATOR_WAYS = {"concat": concat_sample, "projection": project}
