"""Random numbers as functions of a key such as (seed, step), so that a resumed run draws the same ones."""

import random
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor


def derive_seed(*key: int | str) -> int:
    """Hashes a key to a 64-bit seed that is the same on every machine and in every Python version.

    The CPU generator reads only the low 32 bits of a seed, so `seed << 32 | step` would make the runs of all
    seeds equal. blake2b is used because numpy's SeedSequence would take 0.1 ms for each seed, and each step
    needs four seeds.
    """
    text = "/".join(repr(part) if isinstance(part, str) else str(part) for part in key)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def reseed(*key: int | str) -> None:
    """Seeds the default generators of torch, CUDA (if it is in use), numpy and `random` from a key."""
    seed = derive_seed(*key)
    # Not torch.manual_seed, which formats a stack trace at each call: 100 to 300 us a step.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # numpy accepts 32 bits


def seeded_generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator, seeded from a key."""
    return torch.Generator(device).manual_seed(derive_seed(*key))


def proportional_classes(counts: Sequence[int], n: int) -> Tensor:
    """Classes [n] int64 in proportion to `counts` [K]; 0, ..., K - 1 repeatedly if all counts are equal.

    Nothing here is random: this is Webster's method of apportionment. The j-th element of class k, counted
    from 0, has the position (j + 1/2) / counts[k]. All elements are sorted by their positions, and the first
    n are taken. So the i-th entry of the result does not depend on n, and the first m entries are in
    proportion for every m.
    """
    weights = torch.tensor(counts, dtype=torch.float64)
    # An upper bound on the elements of each class among the first n, [K]: about n times its proportion.
    num_candidates = ((n + len(weights) / 2) * weights / weights.sum()).ceil().long() + 1
    classes = torch.repeat_interleave(torch.arange(len(weights)), num_candidates)
    index_in_class = torch.cat([torch.arange(num) for num in num_candidates])  # j of each candidate
    positions = (index_in_class + 0.5) / weights[classes]
    return classes[positions.argsort(stable=True)[:n]]


class RandomSource(Protocol):
    """Named streams of random numbers. Successive calls with one name continue the stream of that name."""

    def normal(self, name: str, n: int, *shape: int) -> Tensor:
        """Standard normal numbers, [n, *shape]."""

    def uniform(self, name: str, n: int, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), [n, *shape]."""


class RandomStreams:
    """A `RandomSource` seeded from a key. Each process receives its rows of the numbers of the global batch.

    Each purpose has a stream of its own, so a trick that draws numbers does not shift those of other tricks.

    Args:
        key: the integers and names from which all numbers follow, such as the seed and the step.
    """

    def __init__(
        self, *key: int | str, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1
    ):
        self.key, self.device = key, device
        self.rank, self.world_size = rank, world_size
        self._streams: dict[str, torch.Generator] = {}

    def normal(self, name: str, n: int, *shape: int) -> Tensor:
        return self._rows(torch.randn, name, n, *shape)

    def uniform(self, name: str, n: int, *shape: int) -> Tensor:
        return self._rows(torch.rand, name, n, *shape)

    def shared_normal(self, name: str, *shape: int) -> Tensor:
        """Standard normal numbers that are equal on all processes, [*shape]."""
        return torch.randn(*shape, generator=self._stream(name), device=self.device)

    def within(self, name: str) -> Self:
        """The streams of one of several games that are played as one, by its name."""
        return type(self)(*self.key, name, device=self.device, rank=self.rank, world_size=self.world_size)

    def _stream(self, name: str) -> torch.Generator:
        if name not in self._streams:
            self._streams[name] = seeded_generator(*self.key, name, device=self.device)
        return self._streams[name]

    def _rows(self, draw: Callable[..., Tensor], name: str, n: int, *shape: int) -> Tensor:
        global_rows = draw(n * self.world_size, *shape, generator=self._stream(name), device=self.device)
        return global_rows[self.rank * n : (self.rank + 1) * n]
