"""Stacked MNIST: images of three digits, one per channel, with a thousand modes that can be counted."""

from typing import Unpack

import torch
from torch import Tensor

from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, Declared, verify_images
from ganlab.data.sources import InMemory
from ganlab.data.vision import load_splits

DIGITS = 10
CHANNELS = 3


class StackedMNIST(Data):
    """Images [3, 28, 28] of three random MNIST digits (Metz et al. 2017; Srivastava et al. 2017).

    The class is the number that the digits form, red first: 0 to 999. Stacks are put together batch by
    batch, so every MNIST image is in memory once.

    Args:
        root: folder that contains torchvision's folder of MNIST.
        size: stacks in the training split, the same ones in every run.
        test_size: stacks in the test split.
        data_seed: of the choice of digits.

    Raises:
        ConfigError: MNIST is not in `root` and cannot be downloaded, or a declared setting contradicts it.
    """

    def __init__(
        self, root: str, size: Count, test_size: Count, data_seed: Whole, **declared: Unpack[Declared]
    ):
        verify_images(declared, shape=(CHANNELS, 28, 28), num_classes=DIGITS**CHANNELS)
        splits = zip(("train", "test"), (size, test_size), load_splits("MNIST", root), strict=True)
        sources = {split: Stacks(*images, n, data_seed, split) for split, n, images in splits}
        super().__init__(**declared, sources=sources)


class Stacks(InMemory):
    """Stacks of images [N, 1, H, W] with labels [N], drawn with replacement.

    Args:
        n: the number of stacks.
        split: whose stacks these are: part of the seed.
    """

    augments = False
    labels: Tensor

    def __init__(self, images: Tensor, labels: Tensor, n: int, data_seed: int, split: str):
        self.images = images
        own = seeded_generator("stacked", data_seed, split)
        self.parts = torch.randint(len(images), (n, CHANNELS), generator=own)  # [n, 3]
        powers = DIGITS ** torch.arange(CHANNELS - 1, -1, -1)
        self.labels = (labels[self.parts] * powers).sum(1)  # [n]

    def __len__(self) -> int:
        return len(self.parts)

    def take(self, rows: Tensor, random_numbers: Tensor | None) -> Tensor:
        return self.images[self.parts[rows]].squeeze(2)
