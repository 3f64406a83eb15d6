"""The ways by which a generator is asked for a class."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ganlab.core.errors import ConfigError
from ganlab.networks.base import Generator, add_inputs, input_layer, replace_modules
from ganlab.networks.labels import ConcatVector, ConditionalNorm, EmbedLatent
from ganlab.networks.norms import BATCH_NORMS, VirtualNorm

GeneratorWay = Literal["concat", "embedding", "norm"]


def ask_for_classes(setting: str, way: GeneratorWay, generator: Generator, num_classes: int) -> None:
    """Changes a generator such that its samples hang on a class.

    Raises:
        ConfigError: the way is `norm`, and the generator has no batch norm.
    """
    if not GENERATOR_WAYS[way](generator, num_classes):
        raise ConfigError(
            f"{setting}={way} needs a generator with batch norm: choose concat or embedding, or "
            "model.generator.batch_norm=true and no trick.normalisation.kind=none"
        )
    generator.num_classes = num_classes


def concat_latent(generator: Generator, num_classes: int) -> bool:
    """One-hot columns beside the latent."""
    add_inputs(input_layer(generator.body), num_classes)
    generator.latents.append(ConcatVector(num_classes))
    return True


def embed_latent(generator: Generator, num_classes: int) -> bool:
    """The latent times an embedding of the class."""
    generator.latents.append(EmbedLatent(num_classes, generator.latent_dim))
    return True


def condition_norm(generator: Generator, num_classes: int) -> bool:
    """Gains and biases of the class behind each batch norm; whether there is any."""

    def conditional(norm: nn.BatchNorm1d | nn.BatchNorm2d | VirtualNorm | nn.GroupNorm) -> nn.Module:
        assert norm.weight is not None
        channels = len(norm.weight)
        norm.weight = norm.bias = None  # type: ignore[assignment]
        return ConditionalNorm(norm, channels, num_classes)

    return bool(replace_modules(generator.body, (*BATCH_NORMS, VirtualNorm, nn.GroupNorm), conditional))


GENERATOR_WAYS = {"concat": concat_latent, "embedding": embed_latent, "norm": condition_norm}
