"""Noise inside of a network: where it enters, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganlab.core.randomness import RandomStreams, derive_seed
from ganlab.networks.base import Conditioned, input_layer, replace_modules
from ganlab.networks.initial import WEIGHTED

MASK = (1 << 24) - 1


def insert_before_hidden(body: nn.Module, make: Callable[[int], nn.Module]) -> int:
    """Puts `make(i)` in front of every weight layer but the first, i = 0, 1, ...; says how many."""
    first = input_layer(body)
    made = 0

    def behind(layer: nn.Module) -> nn.Module:
        nonlocal made
        if layer is first:
            return layer
        made += 1
        return nn.Sequential(make(made - 1), layer)

    replace_modules(body, WEIGHTED, behind)
    return made


class LatentKeys(Conditioned):
    """Keeps a key of each latent, [B], for the layers behind; changes nothing.

    It is a function of the latent's bits: the sum of its float32 numbers, read as integers, each mixed with
    its place. So it is the same on every machine, and in every batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.key: Tensor | None = None

    def forward(self, latent: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        bits = latent.detach().float().contiguous().view(torch.int32).long()  # [B, D]
        places = torch.arange(bits.shape[1], device=bits.device)
        self.key = mix(bits + mix(places)).sum(1)
        return latent, condition


class KeyedDropout(nn.Module):
    """Dropout whose mask is a function of the sample's key: x [B, ...] -> the same shape.

    A number is dropped where a hash of key, layer and place falls below `rate`, and the others are scaled
    by 1 / (1 - rate).
    """

    def __init__(self, keys: LatentKeys, layer: int, rate: float, at_test: bool):
        super().__init__()
        self.keys = keys
        self.salt = derive_seed("dropout", layer) >> 1
        self.rate = rate
        self.at_test = at_test

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.at_test):
            return x
        assert self.keys.key is not None
        places = torch.arange(x.shape[1:].numel(), device=x.device)
        hashed = mix(mix(self.keys.key + self.salt).unsqueeze(1) + mix(places))  # [B, D]
        kept = (hashed & MASK) >= self.rate * (MASK + 1)
        return x * kept.view(x.shape).to(x.dtype) / (1 - self.rate)


def mix(x: Tensor) -> Tensor:
    """A 64-bit integer to one without its order (the finaliser of splitmix64, Steele et al. 2014)."""
    x = x + -0x61C8864680B583EB
    x = (x ^ shifted(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ shifted(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ shifted(x, 31)


def shifted(x: Tensor, bits: int) -> Tensor:
    """To the right, with zeros coming in: torch's own shift brings the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


class ScheduledNoise(nn.Module):
    """x + std noise, in training: [B, ...] -> the same shape.

    Its trick hands it the numbers of the turn before each pass, so that several processes draw those of one.
    Of a pass with further rows in front of the batch, such as a reference, only the last `rows` are changed.

    Args:
        name: of its stream of numbers.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.random: RandomStreams | None = None
        self.rows: int | None = None  # None: all
        self.std = 0.0

    # Not compiled: the streams of each round would trigger a compilation of their own.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.random is None:
            return x
        batch = x if self.rows is None else x[len(x) - self.rows :]
        noisy = batch + self.std * self.random.normal(self.name, *batch.shape).to(x.dtype)
        return noisy if len(batch) == len(x) else torch.cat([x[: -len(batch)], noisy])
