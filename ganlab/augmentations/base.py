"""What a random augmentation is: it changes each image with probability p, by numbers that it draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams

# How strong a transform is; 0 leaves it out.
Share = Annotated[float, "[0, 1]"]
UpTo2 = Annotated[float, "[0, 2]"]
UpTo3 = Annotated[float, "[0, 3]"]


class Span(NamedTuple):
    """The middle of the data's range, and half its width."""

    middle: float
    unit: float


def images(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A sample's shape as channels, height and width; refused where samples are no images."""
    if len(shape) != 3:
        raise ConfigError(
            f"trick {name} changes images, but a sample here has the shape {list(shape)}: "
            "leave it out, or choose data of images"
        )
    channels, height, width = shape
    return channels, height, width


def span(name: str, value_range: tuple[float, float] | None) -> Span:
    """Of the data's range; refused where it has none."""
    if value_range is None:
        raise ConfigError(
            f"trick {name} needs the range of the data, but trick.{name}.range=null, which is data.range "
            "where nothing else is said: give two numbers"
        )
    low, high = value_range
    if not low < high:
        raise ConfigError(f"trick.{name}.range={list(value_range)} must rise, as data.range has to")
    return Span((low + high) / 2, (high - low) / 2)


class Augmentation(ABC):
    """Several transforms of images, each of them made to each image with probability p, independently."""

    @abstractmethod
    def acts(self, name: str, shape: tuple[int, int, int]) -> bool:
        """Whether it changes images of a shape [C, H, W] at all; `name` is the setting's.

        Raises:
            ConfigError: a transform cannot be made to such images.
        """

    @abstractmethod
    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, name: str) -> Tensor:
        """Images [B, C, H, W] changed; those that no transform meets are as they were, bit for bit.

        Args:
            p: the probability of each transform, []; above 1 it is as 1.
            random, name: a source of random numbers, and what they are called there.
        """


def acting(
    name: str, parts: dict[str, Augmentation | None], shape: tuple[int, int, int]
) -> list[Augmentation]:
    """Those parts of a trick that change images of a shape; refused where none does."""
    for key, part in parts.items():
        if part is not None and not isinstance(part, Augmentation):
            raise ConfigError(f"trick.{name}.{key}={part} must be null or an augmentation with its strengths")
    found = [
        part for key, part in parts.items() if part is not None and part.acts(f"trick.{name}.{key}", shape)
    ]
    if not found:
        raise ConfigError(
            f"trick {name} would do nothing to images of {shape[0]} channel(s) with all of "
            f"{', '.join(parts)} null or 0: give one, or leave it out"
        )
    return found


def gate(chance: Tensor, p: Tensor, drawn: Tensor, neutral: float) -> Tensor:
    """What was drawn where a uniform number is below p, and elsewhere what changes nothing."""
    return torch.where(chance < p, drawn, neutral)
