"""Dropout whose masks are functions of the latents, and so of neither the batch nor the process."""

import torch
from torch import Tensor, nn

from ganlab.core.randomness import derive_seed
from ganlab.networks.base import InputTransform


class LatentKeys(InputTransform):
    """Computes a key of each latent, int64 [B], for the `KeyedDropout` layers; returns its inputs unchanged.

    The bits of each float32 element are read as an integer and hashed together with the element's position.
    The key is the sum of these hashes, so it is the same on every machine and in every batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys: Tensor | None = None  # the keys of the latest batch of latents, [B]

    def forward(self, latent: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        bits = latent.detach().float().contiguous().view(torch.int32).long()  # [B, D]
        positions = torch.arange(bits.shape[1], device=bits.device)
        self.keys = splitmix64(bits + splitmix64(positions)).sum(1)
        return latent, condition


class KeyedDropout(nn.Module):
    """Dropout whose mask is a function of the sample's key: x [B, ...] -> the same shape.

    An element is dropped if a hash of key, layer and position, a fraction in [0, 1), is below the rate. The
    other elements are multiplied by 1 / (1 - rate).

    Args:
        latent_keys: the module that has computed the keys earlier in the same forward pass.
        layer: the number or name of this layer; layers with the same one have the same masks.
    """

    def __init__(self, latent_keys: LatentKeys, layer: int | str, rate: float, at_test: bool):
        super().__init__()
        self.latent_keys = latent_keys
        self.salt = derive_seed("dropout", layer) >> 1  # 63 bits, because torch's integers are signed
        self.rate, self.at_test = rate, at_test

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.at_test):
            return x
        assert self.latent_keys.keys is not None
        positions = splitmix64(torch.arange(x.shape[1:].numel(), device=x.device))
        hashes = splitmix64(splitmix64(self.latent_keys.keys + self.salt).unsqueeze(1) + positions)  # [B, D]
        keep = (hashes & (2**24 - 1)) / 2**24 >= self.rate  # the low 24 bits, as a fraction
        return x * keep.view(x.shape).to(x.dtype) / (1 - self.rate)


def splitmix64(x: Tensor) -> Tensor:
    """Hashes 64-bit integers of any shape by one step of splitmix64 (Steele et al. 2014).

    Its constants are 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9 and 0x94D049BB133111EB. torch's integers are
    signed, so the constants are written as the negative numbers with the same bits.
    """
    x = x + -0x61C8864680B583EB
    x = (x ^ logical_right_shift(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ logical_right_shift(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ logical_right_shift(x, 31)


def logical_right_shift(x: Tensor, bits: int) -> Tensor:
    """Shifts to the right and fills with zeros; torch's operator fills with copies of the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
