"""What several processes tell each other; alone, each of these is the identity."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether there are other processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_main_process() -> bool:
    """Whether this is the first process, the one that writes."""
    return not is_distributed() or dist.get_rank() == 0


class SumOfRanks(torch.autograd.Function):
    """The sum over processes; so is its gradient, since every process uses the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return SumOfRanks.apply(slopes[0])


def all_gather_with_grad(x: Tensor) -> Tensor:
    """The rows of all processes, [N, ...] -> [W N, ...], with gradients; each must bring as many.

    For losses that couple the samples of a batch: computed from all rows on every process, and averaged
    like any other gradient, they are those of the global batch.
    """
    if not is_distributed():
        return x
    rows = [x if r == dist.get_rank() else torch.zeros_like(x) for r in range(dist.get_world_size())]
    return SumOfRanks.apply(torch.cat(rows))


def local_rows(rows: Tensor) -> Tensor:
    """This process's part of what `all_gather_with_grad` gave, [W N, ...] -> [N, ...]."""
    return rows.chunk(dist.get_world_size())[dist.get_rank()] if is_distributed() else rows


def mean_of_ranks(x: Tensor) -> Tensor:
    """The mean over processes, with gradients."""
    return SumOfRanks.apply(x) / dist.get_world_size() if is_distributed() else x


def all_reduce_mean_(gradients: list[Tensor]) -> None:
    """Replaces gradients by their means over processes, in one flat message."""
    if not is_distributed() or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, part in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(part.view_as(gradient))


def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Replaces tensors by those of the first process."""
    if is_distributed():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def gather(make: Callable[[slice], Tensor], n: int) -> Tensor:
    """n rows [n, ...] of which each process makes a part; the same on every process, without gradients.

    Args:
        make: a range of rows -> these rows; the last process may be asked for fewer, or for none.
    """
    if not is_distributed():
        return make(slice(0, n))
    share = -(-n // dist.get_world_size())
    first = dist.get_rank() * share
    mine = make(slice(first, min(first + share, n)))
    whole = mine.new_zeros(share * dist.get_world_size(), *mine.shape[1:])
    whole[first : first + len(mine)] = mine
    dist.all_reduce(whole)
    return whole[:n]


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether any process says so; `device` is the one that the processes talk from."""
    if not is_distributed():
        return flag
    said = torch.tensor(float(flag), device=device)
    dist.all_reduce(said, op=dist.ReduceOp.MAX)
    return bool(said)
