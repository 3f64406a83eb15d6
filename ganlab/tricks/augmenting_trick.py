from typing import ClassVar, TypedDict, Unpack

import torch
from torch import Tensor

from ganlab.augmentations.base import Augmentation, Span, validated_image_shape
from ganlab.core.batch import Sample, at_least_float32
from ganlab.core.errors import completing_relative_keys, require
from ganlab.core.validation import ValueRange
from ganlab.tricks.base import Networks, Trick, Turn


class AugmentationSettings(TypedDict):
    """The settings of an augmenting trick: its augmentations, and the range of the data.

    An `Augmentation` is a group of transforms. None: the trick does not use these transforms.
    """

    geometry: Augmentation | None
    colour: Augmentation | None
    corruption: Augmentation | None
    range: ValueRange


class AugmentingTrick(Trick):
    """Base class of tricks with the augmentations of ADA (Karras et al. 2020, appendix B)."""

    stream: ClassVar[str]  # the prefix of the names of the trick's random streams

    def __init__(self, **settings: Unpack[AugmentationSettings]):
        super().__init__()
        self.settings, self.geometry = settings, settings["geometry"]

    def networks(self, networks: Networks) -> None:
        """Selects the transforms that have an effect on the samples; changes no network."""
        shape = validated_image_shape(networks.generator.shape)
        self.span = Span.of_range(self.settings["range"])
        self.augmentations: list[Augmentation] = []  # those with an effect
        for key in ("geometry", "colour", "corruption"):
            if augmentation := self.settings[key]:
                with completing_relative_keys(f".{key}"):
                    if augmentation.has_effect(shape):
                        self.augmentations.append(augmentation)
        reason = f"has no effect: all strengths that apply to {shape[0]}-channel images are 0 or null"
        require(self.augmentations, reason, "set one of them, or remove the trick")

    def augment(self, sample: Sample, p: Tensor, turn: Turn) -> Sample:
        """Applies each transform to each image with probability `p`, a scalar."""
        x, condition = at_least_float32(sample.x), sample.condition
        channels = x.shape[1]
        for augmentation in self.augmentations:
            # An image as condition is moved together with its sample; its colours stay.
            if augmentation is self.geometry and condition is not None and condition.ndim == 4:
                joined = torch.cat([x, condition.to(x.dtype)], 1)
                joined = augmentation(joined, p, self.span, turn.random, self.stream)
                x, condition = joined[:, :channels], joined[:, channels:]
            else:
                x = augmentation(x, p, self.span, turn.random, self.stream)
        return sample._replace(x=x, condition=condition)
