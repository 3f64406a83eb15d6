"""Normalisation layers that replace batch norm, and functions that change the batch norms of a network."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import is_distributed, mean_over_processes
from ganlab.networks.base import WEIGHT_LAYERS, evaluating

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Norm(nn.Module):
    """Base class of normalisations that torch.nn lacks, [B, C, ...] -> the same.

    A network that has one may be told the class by gains and biases of each class, which follow it. A batch
    norm of one's own is a subclass of torch's instead, which tricks replace.

    Args:
        num_features: the number C of channels.
    """

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features
        self.weight: Tensor | None = None  # the gain [C]; None: there is none
        self.bias: Tensor | None = None  # [C]; None: there is none


# The norms after which each class may have a gain and a bias of its own.
NORMS = (*BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.GroupNorm, Norm)


class Bias(nn.Module):
    """Adds a bias to each channel, [B, C, ...] -> the same. It is 0 at first."""

    def __init__(self, num_features: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(-1, *[1] * (x.ndim - 2))


def remove_batch_norm(root: nn.Module) -> int:
    """Removes every batch norm below `root`, and returns their number.

    Its bias remains: as that of the layer with weights before it, if a sequence says which that is, or as a
    layer.
    """
    num_removed = 0
    for parent in list(root.modules()):
        last = None  # the last layer with weights so far
        for owner, name, layer in _layers_in_order(parent):
            if isinstance(layer, BATCH_NORMS):
                num_removed += 1
                setattr(owner, name, Bias(layer.num_features) if last is None else nn.Identity())
                if last is not None and last.bias is None:
                    num_outputs = last.out_features if isinstance(last, nn.Linear) else last.out_channels
                    last.bias = nn.Parameter(last.weight.new_zeros(num_outputs))
            elif isinstance(parent, nn.Sequential) and isinstance(layer, WEIGHT_LAYERS):
                last = layer
    return num_removed


def _layers_in_order(parent: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """The children of a module with their parents and names; sequences in a sequence are part of it."""
    for name, child in list(parent.named_children()):
        if isinstance(parent, nn.Sequential) and isinstance(child, nn.Sequential):
            yield from _layers_in_order(child)
        else:
            yield parent, name, child


@torch.no_grad()
def set_standing_statistics(network: nn.Module, batches: Iterable[tuple[Tensor | None, ...]]) -> None:
    """Sets the running statistics of all batch norms to the statistics of given batches.

    This is needed for weights that were not trained themselves, such as averages: the running statistics
    belong to the trained weights (Izmailov et al. 2018, section 3.2). Brock et al. (2019) call the result
    standing statistics.

    The network is in evaluation mode, because training mode would also apply dropout, and update the state of
    spectral norm. So the running statistics, by which a batch norm then normalises, are set to those of the
    batch just before each use, and to those of all batches in the end.

    Args:
        batches: the positional arguments of the network for each batch; all batches have equally many rows.
    """
    statistics: dict[Any, list[tuple[Tensor, Tensor]]] = {}

    def use_batch_statistics(norm: Any, inputs: tuple[Tensor]) -> None:
        x = at_least_float32(inputs[0])
        dims = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x, dims, correction=0)  # [C]
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        statistics.setdefault(norm, []).append((mean, torch.var(x, dims)))  # the unbiased variance

    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    with ExitStack() as hooks, evaluating(network):
        for norm in norms:
            hooks.enter_context(norm.register_forward_pre_hook(use_batch_statistics))
        for batch in batches:
            network(*batch)
    for norm, batch_statistics in statistics.items():
        means, variances = map(torch.stack, zip(*batch_statistics, strict=True))  # [batches, C]
        # The variance over all batches is the mean of the unbiased variances within batches, plus the
        # variance of the means.
        norm.running_mean.copy_(means.mean(0))
        norm.running_var.copy_(variances.mean(0) + means.var(0, correction=0))


class DifferentiableBatchNorm(_BatchNorm):
    """Batch norm that can be differentiated any number of times, [B, C, ...] -> [B, C, ...].

    torch's batch norm can be differentiated only twice, but a gradient penalty in an unrolled step needs a
    third derivative. The elementary operations of this layer can be differentiated any number of times.

    Args:
        norm: the batch norm to replace. This layer has its parameters and buffers, under the same names.
        synchronised: whether to use the statistics of all processes, whose batches must have equally many
            rows. torch's SyncBatchNorm cannot be used, because it does not run on CPUs.
    """

    def __init__(self, norm: _BatchNorm, synchronised: bool = False):
        settings = {"affine": False, "track_running_stats": norm.track_running_stats}
        super().__init__(norm.num_features, norm.eps, norm.momentum, **settings)
        self.synchronised = synchronised
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accepts all shapes; each class of batch norm in torch accepts only its own."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        x32 = at_least_float32(x)
        dims, shape = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
        average = mean_over_processes if self.synchronised else nn.Identity()
        mean = average(x32.mean(dims))  # [C]
        centred = x32 - mean.view(shape)
        variance = average(centred.square().mean(dims))  # [C]
        self._update_running_statistics(mean.detach(), variance.detach(), count=x.numel() // x.shape[1])
        scale = (variance + self.eps).rsqrt() * (1 if self.weight is None else self.weight)
        normalised = centred * scale.view(shape)
        return (normalised if self.bias is None else normalised + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Updates the running statistics as torch does, from means and biased variances [C].

        Args:
            count: the number of elements per channel on this process.
        """
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        count *= dist.get_world_size() if self.synchronised and is_distributed() else 1
        self.num_batches_tracked.add_(1)
        # In torch, momentum=None means that running statistics are the averages over all batches so far.
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased_variance = variance * count / (count - 1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), momentum)


SynchronisedNorm = partial(DifferentiableBatchNorm, synchronised=True)  # used like DifferentiableBatchNorm


class VirtualNorm(Norm):
    """Virtual batch norm (Salimans et al. 2016, section 3.5), [R + B, C, ...] -> [R + B, C, ...].

    The first R rows are a reference batch, which is normalised by its own statistics. Each of the other rows
    is normalised by the statistics of R + 1 rows: the reference batch and the row itself.

    Args:
        norm: the batch norm to replace; its gain and bias are used.
        size: the number R of rows of the reference batch.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, size: int):
        super().__init__(norm.num_features)
        self.weight, self.bias, self.eps, self.size = norm.weight, norm.bias, norm.eps, size

    def forward(self, x: Tensor) -> Tensor:
        rows = at_least_float32(x).reshape(*x.shape[:2], -1)  # [R + B, C, S]
        # A common shift of all rows changes only how results are rounded. Without a shift, E x^2 - (E x)^2
        # would be a difference of large numbers, and lose digits.
        rows = rows - rows[: self.size].detach().mean((0, 2), keepdim=True)
        mean = self._include_reference(rows.mean(2))  # [R + B, C]
        mean_square = self._include_reference(rows.square().mean(2))  # [R + B, C]
        scale = (mean_square - mean.square() + self.eps).rsqrt() * (1 if self.weight is None else self.weight)
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        return (rows * scale.unsqueeze(2) + shift.unsqueeze(2)).to(x.dtype).view_as(x)

    def _include_reference(self, moment: Tensor) -> Tensor:
        """Averages a moment [R + B, C], such as the mean, over the rows by which each row is normalised."""
        reference = moment[: self.size].mean(0)  # [C]
        with_reference = (self.size * reference + moment[self.size :]) / (self.size + 1)  # [B, C]
        return torch.cat([reference.expand(self.size, -1), with_reference])
