"""The 8x8 handwritten digits that come with scikit-learn: the default data, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganlab.data.base import Data
from ganlab.data.facts import agree, image_range
from ganlab.data.sources import Memory


class Digits(Data):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998), a fifth of them for testing."""

    def __init__(self, shape: Sequence[int], num_classes: int, range: Sequence[float], batch_size: int):
        from sklearn.datasets import load_digits  # a second of import that other data need not pay

        found = load_digits()
        images = torch.from_numpy(found.images)[:, None]  # [1797, 1, 8, 8], 0 to 16
        pixels = (images * 255 / 16).round().byte()
        labels = torch.from_numpy(found.target).long()
        agree("shape", shape, tuple(pixels.shape[1:]))
        agree("num_classes", num_classes, 10)
        test = held_out(labels)
        sources = {
            "train": Memory(pixels[~test], labels[~test], flip=False),
            "test": Memory(pixels[test], labels[test], flip=False),
        }
        super().__init__(shape, num_classes, image_range(range), batch_size, sources)


def held_out(labels: Tensor) -> Tensor:
    """Which images are for testing, [N] bool: every fifth of each class, so that both splits are balanced."""
    seen = one_hot(labels).cumsum(0).gather(1, labels[:, None])[:, 0]  # [N], of its class up to this one
    return seen % 5 == 0
