"""A data set of numbered images, and functions that read and compare batches of any data set."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from ganlab.data.base import Data
from ganlab.data.sources import TensorSource

N, BATCH = 23, 6  # an epoch is three batches; five samples are dropped


def numbered_images(flip: bool = False, batch_size: int = BATCH) -> Data:
    """Images [N, 1, 2, 3]; image i has the value i in its left column and 255 - i in its right one."""
    x = torch.zeros(N, 1, 2, 3, dtype=torch.uint8)
    x[:, 0, :, 0] = torch.arange(N, dtype=torch.uint8)[:, None]
    x[:, 0, :, 2] = 255 - x[:, 0, :, 0]
    return Data((1, 2, 3), N, (0.0, 1.0), batch_size, {"train": TensorSource(x, torch.arange(N), flip)})


def first_batches(
    data: Data, n: int, seed: int = 0, start: int = 0, **where: int
) -> list[tuple[Tensor, Tensor | None]]:
    """The samples and the labels of n training batches."""
    batches = islice(data.stream(seed, lambda: start, "cpu", **where), n)
    return [(batch.real.x, batch.real.condition) for batch in batches]


def same_batches(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


def read_split(data: Data, split: str = "train") -> tuple[Tensor, Tensor | None]:
    return next(data.split(split, "cpu", 1000))
