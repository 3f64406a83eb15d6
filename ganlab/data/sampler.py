"""Which samples make batch k, and what chance does to each: functions of (seed, k)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.core.randomness import seeded_generator


class BatchIndices(NamedTuple):
    """One process's rows of one global batch, on the CPU."""

    rows: Tensor  # [b] which samples
    chance: Tensor | None  # [b, 3] uniform in [0, 1): flip, top, left; None: nothing is left to chance


class Plan:
    """Batch k as a function of (seed, k): an epoch is a permutation, whose incomplete rest is dropped."""

    def __init__(self, seed: int, size: int, batch_size: int, rank: int, world_size: int, augments: bool):
        self.seed = seed
        self.size = size
        self.batch_size = batch_size
        self.rows = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self.augments = augments
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def since(self, k: int) -> Iterator[BatchIndices]:
        """The requests k, k + 1, ... without an end."""
        return map(self.request, itertools.count(k))

    def request(self, k: int) -> BatchIndices:
        """This process's rows of global batch k."""
        epoch, batch = divmod(k, self.size // self.batch_size)
        if epoch != self._epoch:
            # Permutations are drawn on the CPU whatever the device, so that they are the same everywhere.
            self._order = torch.randperm(self.size, generator=seeded_generator(self.seed, "data", epoch))
            self._epoch = epoch
        batch_order = self._order[batch * self.batch_size : (batch + 1) * self.batch_size]  # [B]
        return BatchIndices(batch_order[self.rows], self._chance(k))

    def _chance(self, k: int) -> Tensor | None:
        if not self.augments:
            return None
        numbers = torch.rand(self.batch_size, 3, generator=seeded_generator(self.seed, "augment", k))
        return numbers[self.rows]


class StageSampler:
    """Plans that follow one another: each but the last makes so many batches, and the count goes on.

    Args:
        plans: and how many batches each of them makes.
    """

    def __init__(self, plans: Sequence[tuple[Plan, int]]):
        self.plans = plans

    def since(self, k: int) -> Iterator[BatchIndices]:
        """The requests k, k + 1, ... without an end."""
        end = 0
        for plan, length in self.plans[:-1]:
            end += length
            yield from itertools.islice(plan.since(k), max(end - k, 0))
            k = max(k, end)
        yield from self.plans[-1][0].since(k)


def in_order(size: int, batch_size: int) -> Iterator[BatchIndices]:
    """Requests for every sample once; the last may be smaller."""
    for first in range(0, size, batch_size):
        yield BatchIndices(torch.arange(first, min(first + batch_size, size)), None)


def no_augmentation(n: int, device: torch.device | str = "cpu") -> Tensor:
    """The chance of n samples to which nothing happens: not flipped, cut in the middle; [n, 3]."""
    return torch.full((n, 3), 0.5, device=device)


def flips(chance: Tensor) -> Tensor:
    """Which samples are mirrored, [b] bool, from chance [b, 3]."""
    return chance[:, 0] < 0.5


def offset(chance: Tensor, spare: Tensor) -> Tensor:
    """Where a window begins that has `spare` pixels of room: 0 to spare, equally likely; same shape."""
    # float32 on purpose: files are cut one at a time, memory at once, and both must round alike.
    return (chance * (spare + 1)).long().minimum(spare)
