"""Noise inside a network: dropout and Gaussian noise whose random numbers do not depend on the batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor, nn

from ganlab.core.randomness import RandomStreams, derive_seed
from ganlab.networks.base import Conditioned, input_layer, replace_modules
from ganlab.networks.initial import WEIGHTED

MASK = (1 << 24) - 1


def insert_before_hidden(body: nn.Module, make: Callable[[int], nn.Module]) -> int:
    """Inserts make(0), make(1), ... before every weight layer but the first; returns their number."""
    first, numbers = input_layer(body), count()

    def prepend(layer: nn.Module) -> nn.Module:
        return layer if layer is first else nn.Sequential(make(next(numbers)), layer)

    replace_modules(body, WEIGHTED, prepend)
    return next(numbers)


class LatentKeys(Conditioned):
    """Computes a key of each latent, [B], for the `KeyedDropout` layers; passes its inputs through.

    A key is a function of the latent's bits, and so the same on every machine and in every batch: the sum
    of the latent's float32 elements, read as integers, each hashed with its position.
    """

    def __init__(self) -> None:
        super().__init__()
        self.key: Tensor | None = None

    def forward(self, latent: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        bits = latent.detach().float().contiguous().view(torch.int32).long()  # [B, D]
        positions = torch.arange(bits.shape[1], device=bits.device)
        self.key = splitmix64(bits + splitmix64(positions)).sum(1)
        return latent, condition


class KeyedDropout(nn.Module):
    """Dropout whose mask is a function of the sample's key: x [B, ...] -> the same shape.

    An element is dropped if a hash of key, layer and position, scaled to [0, 1), is below the rate. The
    other elements are scaled by 1 / (1 - rate).

    Args:
        keys: the layer that computes the keys earlier in the same pass.
        layer: number of this layer; equal numbers give equal masks.
        rate: the probability of dropping an element.
        at_test: whether elements are dropped in evaluation too.
    """

    def __init__(self, keys: LatentKeys, layer: int, rate: float, at_test: bool):
        super().__init__()
        self.keys = keys
        self.salt = derive_seed("dropout", layer) >> 1
        self.rate, self.at_test = rate, at_test

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.at_test):
            return x
        assert self.keys.key is not None
        positions = torch.arange(x.shape[1:].numel(), device=x.device)
        hashes = splitmix64(
            splitmix64(self.keys.key + self.salt).unsqueeze(1) + splitmix64(positions)
        )  # [B, D]
        kept = (hashes & MASK) >= self.rate * (MASK + 1)
        return x * kept.view(x.shape).to(x.dtype) / (1 - self.rate)


def splitmix64(x: Tensor) -> Tensor:
    """Hashes 64-bit integers by the finaliser of splitmix64 (Steele et al. 2014), of any shape."""
    x = x + -0x61C8864680B583EB
    x = (x ^ logical_right_shift(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ logical_right_shift(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ logical_right_shift(x, 31)


def logical_right_shift(x: Tensor, bits: int) -> Tensor:
    """Shifts in zeros, where torch's own shift repeats the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


class ScheduledNoise(nn.Module):
    """Adds std * noise in training: [B, ...] -> the same shape.

    A trick sets `random`, `rows` and `std` before each pass, so that several processes draw the noise that
    one process would.

    Args:
        name: of its random stream.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.random: RandomStreams | None = None  # None: no noise
        self.rows: int | None = (
            None  # only the last rows get noise, behind those of a reference batch; None: all
        )
        self.std = 0.0

    # Not compiled, because the streams of each step would trigger a compilation.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.random is None:
            return x
        batch = x if self.rows is None else x[len(x) - self.rows :]
        noisy = batch + self.std * self.random.normal(self.name, *batch.shape).to(x.dtype)
        return noisy if len(batch) == len(x) else torch.cat([x[: -len(batch)], noisy])
