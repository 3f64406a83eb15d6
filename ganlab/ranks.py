"""What several processes tell each other; alone, each of these is the identity."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn import functional as with_gradient


def several() -> bool:
    """Whether there are other processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def together(x: Tensor) -> Tensor:
    """The rows of all processes, [N, ...] -> [W N, ...], with gradients; each must bring as many.

    For losses that couple the samples of a batch: computed from all rows on every process, and averaged
    like any other gradient, they are those of the global batch.
    """
    return torch.cat(with_gradient.all_gather(x.contiguous())) if several() else x


def mean_of_ranks(x: Tensor) -> Tensor:
    """The mean over processes, with gradients."""
    return with_gradient.all_reduce(x.contiguous()) / dist.get_world_size() if several() else x


def average(gradients: list[Tensor]) -> None:
    """Replaces gradients by their means over processes, in one flat message."""
    if not several() or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, part in zip(gradients, flat.split(sizes), strict=True):
        gradient.copy_(part.view_as(gradient))


def any_of_ranks(flag: bool, like: Tensor) -> bool:
    """Whether any process says so; `like` is a tensor on the device that the processes talk from."""
    if not several():
        return flag
    said = like.new_tensor(float(flag))
    dist.all_reduce(said, op=dist.ReduceOp.MAX)
    return bool(said)
