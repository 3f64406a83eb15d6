"""Normalisation layers that replace batch norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganlab.core.distributed import is_distributed, mean_over_ranks
from ganlab.core.turn import at_least_float32
from ganlab.networks.base import evaluating, replace_modules
from ganlab.networks.initial import WEIGHTED

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def remove_batch_norm(root: nn.Module) -> int:
    """Takes every batch norm below `root` away, and says how many.

    The layer in front of one gets a bias, where it has none because the norm's stood for it.
    """
    before = None
    for layer in root.modules():
        if isinstance(layer, BATCH_NORMS) and before is not None and before.bias is None:
            outputs = before.out_features if isinstance(before, nn.Linear) else before.out_channels
            before.bias = nn.Parameter(before.weight.new_zeros(outputs))
        elif isinstance(layer, WEIGHTED):
            before = layer
    return replace_modules(root, BATCH_NORMS, lambda _: nn.Identity())


@torch.no_grad()
def set_standing_statistics(network: nn.Module, batches: Iterable[tuple[Tensor | None, ...]]) -> None:
    """Sets the running statistics of all batch norms to those of the network's own activations.

    For weights that were never trained as they are, such as averages: the statistics of others are not
    theirs (Izmailov et al. 2018, section 3.2; Brock et al. 2019 name them so). A layer normalises each
    batch by the statistics of that batch, as in training, and in the end has those of all, with the
    unbiased variance; anything else is as in evaluation. No process waits for another.

    batches: the arguments of each pass, as many rows in each.
    """
    found: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}

    def measure(norm: Any, inputs: tuple[Tensor]) -> None:
        x = at_least_float32(inputs[0])
        dims = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x, dims, correction=0)  # [C]
        set_statistics(norm, mean, variance)
        found.setdefault(norm, []).append((mean, torch.var(x, dims)))  # torch, too, keeps the unbiased one

    hooks = [
        layer.register_forward_pre_hook(measure)
        for layer in network.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None
    ]
    if not hooks:
        return
    try:
        with evaluating(network):
            for batch in batches:
                network(*batch)
    finally:
        for hook in hooks:
            hook.remove()
    for norm, seen in found.items():
        means, variances = (torch.stack(part) for part in zip(*seen, strict=True))  # [batches, C]
        set_statistics(norm, means.mean(0), variances.mean(0) + means.var(0, correction=0))


def set_statistics(norm: Any, mean: Tensor, variance: Tensor) -> None:
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


class ElementaryNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm in elementary operations: x [B, C, ...] -> the same shape.

    It can be differentiated as often as one likes, torch's own only twice: the slope of a penalty within
    the gradient of an unrolled step is a third time. Weights, buffers and their names are those of the
    batch norm that it stands for.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d | ElementaryNorm):
        super().__init__(norm.num_features, norm.eps, norm.momentum, False, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape with channels."""

    def _of_all(self, statistic: Tensor) -> Tensor:
        """A statistic of all rows, from that of the rows here."""
        return statistic

    def _count(self, x: Tensor) -> int:
        """How many numbers a channel has."""
        return x.numel() // x.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        rows = at_least_float32(x)
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        mean = self._of_all(rows.mean(dims))  # [C]
        centred = rows - mean.view(shape)
        variance = self._of_all(centred.square().mean(dims))  # [C]
        self._remember(mean.detach(), variance.detach(), self._count(x))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shown = centred * scale.view(shape)
        return (shown if self.bias is None else shown + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """The running statistics, with the unbiased variance as torch has it."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)


class SynchronisedNorm(ElementaryNorm):
    """Batch norm over the batches of all processes, which must bring as many rows each.

    torch's own SyncBatchNorm refuses CPUs.
    """

    def _of_all(self, statistic: Tensor) -> Tensor:
        return mean_over_ranks(statistic)

    def _count(self, x: Tensor) -> int:
        return super()._count(x) * (dist.get_world_size() if is_distributed() else 1)


class VirtualNorm(nn.Module):
    """x [R + B, C, ...], the reference first -> the same shape, with the gain and bias of a batch norm.

    The statistics of row b are the mean over R + 1 rows, (R m_ref + m_b) / (R + 1), and so is that of the
    squares; the reference's own rows are normalised by the reference alone.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, size: int):
        super().__init__()
        self.weight = norm.weight
        self.bias = norm.bias
        self.eps = norm.eps
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        rows = (
            at_least_float32(x).flatten(2) if x.ndim > 2 else at_least_float32(x).unsqueeze(2)
        )  # [R + B, C, S]
        # The result is free of a shift, and squares of centred numbers lose no digits.
        rows = rows - rows[: self.size].detach().mean((0, 2), keepdim=True)
        mean, square = rows.mean(2), rows.square().mean(2)  # [R + B, C]
        mean, square = self._with_reference(mean), self._with_reference(square)
        scale = (square - mean.square() + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        return (rows * scale.unsqueeze(2) + shift.unsqueeze(2)).to(x.dtype).view_as(x)

    def _with_reference(self, moment: Tensor) -> Tensor:
        """Moments of single rows [R + B, C] -> those by which each row is normalised."""
        reference = moment[: self.size].mean(0)  # [C]
        own = (self.size * reference + moment[self.size :]) / (self.size + 1)  # [B, C]
        return torch.cat([reference.expand(self.size, -1), own])
