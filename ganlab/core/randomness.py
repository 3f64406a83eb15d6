"""Randomness as a function of where we are: the same (seed, step) gives the same numbers, killed or not."""

import random
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor


def derive_seed(*key: int | str) -> int:
    """Mixes a key into one 64-bit seed; equal keys give equal seeds on every machine and Python.

    The CPU generator reads only the low 32 bits of a seed, so `seed << 32 | step` would give every seed
    the same run: hence the mixing. A hash is quick: numpy's SeedSequence took 0.1 ms, four times a round.
    """
    words = "/".join(repr(part) if isinstance(part, str) else str(part) for part in key)
    return int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "little")


def reseed(*key: int | str) -> None:
    """Sets every default generator (torch, CUDA where it is in use, numpy, random) from a key."""
    seed = derive_seed(*key)
    # torch.manual_seed formats a stack trace at each call: 100 to 300 us a round.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


def seeded_generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own, seeded from a key."""
    return torch.Generator(device).manual_seed(derive_seed(*key))


def proportional_classes(counts: Sequence[int], n: int) -> Tensor:
    """Classes, int64 [n], class k being counts[k] / sum of them all; in turn where all counts are equal.

    The i-th hangs not on n, and any first so many hold the classes in proportion: the j-th of class k comes
    at (j + 1/2) / counts[k], as seats are dealt by Webster's method.
    """
    share = torch.tensor(counts, dtype=torch.float64)
    enough = ((n + len(share) / 2) * share / share.sum()).ceil().long() + 1
    classes = torch.repeat_interleave(torch.arange(len(share)), enough)
    place = torch.arange(len(classes)) - (enough.cumsum(0) - enough)[classes]  # among its class
    return classes[((place + 0.5) / share[classes]).argsort(stable=True)[:n]]


class RandomStreams:
    """Random numbers of the global batch, of which this process takes its rows.

    Every use names itself and has a stream of its own, so that a trick which draws does not shift the
    numbers of another. Calls with one name continue one stream.
    """

    def __init__(
        self, *key: int | str, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1
    ):
        self.key = key
        self.device = device
        self.rank = rank
        self.world_size = world_size
        self._streams: dict[str, torch.Generator] = {}

    def normal(self, name: str, n: int, *shape: int) -> Tensor:
        """Standard normal numbers, [n, *shape]."""
        return self._rows(torch.randn, name, n, *shape)

    def uniform(self, name: str, n: int, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), [n, *shape]."""
        return self._rows(torch.rand, name, n, *shape)

    def common(self, name: str, *shape: int) -> Tensor:
        """Standard normal numbers that all processes share, [*shape]."""
        return torch.randn(*shape, generator=self._stream(name), device=self.device)

    def _stream(self, name: str) -> torch.Generator:
        if name not in self._streams:
            self._streams[name] = seeded_generator(*self.key, name, device=self.device)
        return self._streams[name]

    def _rows(self, make, name: str, n: int, *shape: int) -> Tensor:  # type: ignore[no-untyped-def]
        everyone = make(n * self.world_size, *shape, generator=self._stream(name), device=self.device)
        return everyone[self.rank * n : (self.rank + 1) * n]
