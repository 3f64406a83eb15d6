"""Collective operations between the processes of a run. In a run of one process, each is the identity."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether the run has several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_main_process() -> bool:
    """Whether this is the first process, the only one that writes files."""
    return not is_distributed() or dist.get_rank() == 0


class SumOfRanks(torch.autograd.Function):
    """The sum over processes. Its gradient is the sum of the gradients on all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return SumOfRanks.apply(gradient)


def all_gather_with_grad(x: Tensor) -> Tensor:
    """Concatenates the rows of all W processes, [N, ...] -> [W N, ...]; every process must have the same N.

    Used by losses that couple the samples of a batch: every process computes the loss from all rows. The
    average of the processes' gradients, which the optimiser uses, is then the gradient of the global batch.
    """
    if not is_distributed():
        return x
    # Each process fills its rows and leaves zeros in the others', so the sum over processes has all rows.
    blocks = [x if r == dist.get_rank() else torch.zeros_like(x) for r in range(dist.get_world_size())]
    return SumOfRanks.apply(torch.cat(blocks))


def local_rows(rows: Tensor) -> Tensor:
    """The rows of this process, [W N, ...] -> [N, ...]: the inverse of `all_gather_with_grad`."""
    return rows.chunk(dist.get_world_size())[dist.get_rank()] if is_distributed() else rows


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean over processes, differentiable."""
    return SumOfRanks.apply(x) / dist.get_world_size() if is_distributed() else x


def all_reduce_mean_(gradients: list[Tensor]) -> None:
    """Replaces gradients by their means over processes, in one collective."""
    if not is_distributed() or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = (flat / dist.get_world_size()).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Replaces tensors by those of the first process."""
    if is_distributed():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def make_in_parallel(make: Callable[[slice], Tensor], n: int) -> Tensor:
    """Computes n rows [n, ...], a part on each process, and returns all of them on every process.

    The result carries no gradient.

    Args:
        make: computes the rows of a slice. On the last processes the slice may be shorter, or empty.
    """
    if not is_distributed():
        return make(slice(0, n))
    size = -(-n // dist.get_world_size())  # of one part: n / W, rounded up
    first = dist.get_rank() * size
    part = make(slice(first, min(first + size, n)))
    rows = part.new_zeros(size * dist.get_world_size(), *part.shape[1:])
    rows[first : first + len(part)] = part
    dist.all_reduce(rows)
    return rows[:n]


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process; the collective runs on `device`."""
    if not is_distributed():
        return flag
    largest = torch.tensor(float(flag), device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return bool(largest)
