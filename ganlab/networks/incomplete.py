"""Conditions that are incomplete samples: the known values, and a mask of them as the last channel."""

from torch import Tensor

from ganlab.core.players import Networks


def is_incomplete(networks: Networks) -> bool:
    """Whether the condition is the known values of an image and a mask."""
    spec, (channels, *size) = networks.condition, networks.generator.shape
    return spec is not None and spec.names[-1:] == ("mask",) and spec.shape == (channels + 1, *size)


def known_and_mask(condition: Tensor) -> tuple[Tensor, Tensor]:
    """The known values [B, C, H, W], and whether each pixel is known, [B, 1, H, W].

    The mask has the range of the data: known pixels have the highest value, 1, and missing ones 0 or -1.
    """
    return condition[:, :-1], condition[:, -1:] > 0
