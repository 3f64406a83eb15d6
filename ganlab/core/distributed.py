"""Collective operations between the processes of a run. In a run of one process, each is the identity."""

import math
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


class SumOverProcesses(torch.autograd.Function):
    """The sum over processes. Its gradient is the sum of the gradients on all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return SumOverProcesses.apply(gradient)


def all_gather_with_grad(x: Tensor) -> Tensor:
    """Concatenates the rows of all W processes, [N, ...] -> [W N, ...]; every process must have the same N.

    Used by losses that couple the samples of a batch: every process computes the loss from all rows. The
    average of the processes' gradients, which the optimiser uses, is then the gradient of the global batch.
    """
    if not is_distributed():
        return x
    # Each process leaves the rows of all other processes zero, so the sum over processes has all rows.
    blocks = [torch.zeros_like(x)] * dist.get_world_size()
    blocks[dist.get_rank()] = x
    return SumOverProcesses.apply(torch.cat(blocks))


def local_rows(rows: Tensor) -> Tensor:
    """The rows of this process, [W N, ...] -> [N, ...]: the inverse of `all_gather_with_grad`."""
    return rows.chunk(dist.get_world_size())[dist.get_rank()] if is_distributed() else rows


def mean_over_processes(x: Tensor) -> Tensor:
    """The mean over processes, differentiable."""
    return SumOverProcesses.apply(x) / dist.get_world_size() if is_distributed() else x


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


def make_in_parallel(make: Callable[[slice], Tensor], start: int, stop: int) -> Tensor:
    """Makes the rows of slice(start, stop), a part on each process, and returns all of them on every process.

    The result, [stop - start, ...], carries no gradient. The slices of the last processes may be empty.
    """
    if not is_distributed():
        return make(slice(start, stop))
    rows_per_process = math.ceil((stop - start) / dist.get_world_size())
    offset = dist.get_rank() * rows_per_process
    part = make(slice(start + offset, min(start + offset + rows_per_process, stop)))
    rows = part.new_zeros(rows_per_process * dist.get_world_size(), *part.shape[1:])
    rows[offset : offset + len(part)] = part
    dist.all_reduce(rows)
    return rows[: stop - start]


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process; the collective runs on `device`."""
    if not is_distributed():
        return flag
    num_set = torch.tensor(int(flag), device=device)
    dist.all_reduce(num_set)
    return bool(num_set)
