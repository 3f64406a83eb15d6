"""Stacked MNIST: three digits as the channels of one image, so a thousand modes that can be counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, Whole, check_declared, check_image_range
from ganlab.data.base import Data
from ganlab.data.sampler import BatchIndices
from ganlab.data.sources import Samples, Source, present, send
from ganlab.data.vision import FOLDERS, download, read

DIGITS = 10
CHANNELS = 3


class StackedMNIST(Data):
    """Images [3, 28, 28] of three MNIST digits drawn at random (Metz et al. 2017; Srivastava et al. 2017).

    The class is the number that the digits make, red first: 0 to 999. `size` stacks of training images, the
    same ones in every run, and `test_size` of test images, are drawn with `data_seed`; they are put together
    when a batch wants them, so the images of MNIST are held once.

    Raises:
        ConfigError: MNIST is not in `root` and cannot be downloaded, or a setting contradicts the rest.
    """

    def __init__(
        self,
        root: str,
        size: Count,
        test_size: Count,
        data_seed: Whole,
        shape: Sequence[int],
        num_classes: int,
        range: Sequence[float],
        batch_size: Count,
    ):
        check_declared("num_classes", num_classes, DIGITS**CHANNELS)
        check_declared("shape", shape, (CHANNELS, 28, 28))
        home = Path(root).expanduser()
        if not (home / FOLDERS["MNIST"]).is_dir():
            download("MNIST", home)
        sources = {
            split: Stacks(*read("MNIST", home, train=split == "train"), n, data_seed, split)
            for split, n in {"train": size, "test": test_size}.items()
        }
        super().__init__(shape, num_classes, check_image_range(range), batch_size, sources)


class Stacks(Source):
    """n stacks of single-channel images [N, 1, H, W] with labels [N], drawn with replacement."""

    augments = False
    labels: Tensor

    def __init__(self, images: Tensor, labels: Tensor, n: int, data_seed: int, split: str):
        self.images = images
        chance = seeded_generator("stacked", data_seed, split)
        self.parts = torch.randint(len(images), (n, CHANNELS), generator=chance)  # [n, 3]
        powers = DIGITS ** torch.arange(CHANNELS - 1, -1, -1)
        self.labels = (labels[self.parts] * powers).sum(1)  # [n]

    def __len__(self) -> int:
        return len(self.parts)

    def batches(self, requests: Iterator[BatchIndices]) -> Iterator[Samples]:
        for rows, _ in requests:
            here = send(rows, self.images.device)
            yield self.images[self.parts[here]].squeeze(2), self.labels[here]

    def contents(self) -> Iterator[Tensor | str]:
        return present(self.images, self.parts, self.labels)
