from typing import ClassVar, TypedDict, Unpack

from torch import Tensor

from ganlab.augmentations.base import Augmentation, Span, validated_image_shape
from ganlab.core.errors import ConfigError, completing_relative_keys
from ganlab.core.turn import Networks, Sample, Turn, at_least_float32
from ganlab.core.validation import ValueRange
from ganlab.tricks.base import Trick


class Augmentations(TypedDict):
    """The settings of augmentations: three groups of transforms, or None, and the range of the data."""

    geometry: Augmentation | None
    colour: Augmentation | None
    corruption: Augmentation | None
    range: ValueRange


class AugmentingTrick(Trick):
    """Base class of tricks with the augmentations of ADA (Karras et al. 2020, appendix B)."""

    stream: ClassVar[str]  # the prefix of the names of the trick's random streams

    def __init__(self, **augmentations: Unpack[Augmentations]):
        super().__init__()
        self.augmentations = augmentations

    def networks(self, networks: Networks) -> None:
        """Selects the transforms that have an effect on the samples; changes no network."""
        shape = validated_image_shape(networks.generator.shape)
        num_channels = shape[0]
        self.span = Span.of_range(self.augmentations["range"])
        self.groups: list[Augmentation] = []  # the groups with an effect
        for key in ("geometry", "colour", "corruption"):
            if group := self.augmentations[key]:
                with completing_relative_keys(f".{key}"):
                    group.check_shape(shape)
                if group.has_effect(num_channels):
                    self.groups.append(group)
        if not self.groups:
            reason = f"has no effect: all strengths that apply to {num_channels}-channel images are 0 or null"
            raise ConfigError(reason, "set one of them, or remove the trick")

    def augment(self, sample: Sample, p: Tensor, turn: Turn) -> Sample:
        """Applies each transform to each image with probability `p`, a scalar."""
        x = at_least_float32(sample.x)
        for group in self.groups:
            x = group(x, p, self.span, turn.random, self.stream)
        return sample._replace(x=x)
