"""Normalisation layers that replace batch norm, and functions that change the batch norms of a network."""

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.core.distributed import is_distributed, mean_over_ranks
from ganlab.core.turn import at_least_float32
from ganlab.networks.base import WEIGHT_LAYERS, evaluating, replace_modules

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def remove_batch_norm(root: nn.Module) -> int:
    """Removes every batch norm below `root`, and returns their number.

    The layer before a removed batch norm gets a bias if it has none, to replace that of the batch norm.
    """
    before = None
    for layer in root.modules():
        if isinstance(layer, BATCH_NORMS) and before is not None and before.bias is None:
            outputs = before.out_features if isinstance(before, nn.Linear) else before.out_channels
            before.bias = nn.Parameter(before.weight.new_zeros(outputs))
        elif isinstance(layer, WEIGHT_LAYERS):
            before = layer
    return replace_modules(root, BATCH_NORMS, lambda _: nn.Identity())


@torch.no_grad()
def set_standing_statistics(network: nn.Module, batches: Iterable[tuple[Tensor | None, ...]]) -> None:
    """Sets the running statistics of all batch norms to those of given batches.

    This is needed for weights that were not themselves trained, such as averages, because the statistics of
    the trained weights do not fit them (Izmailov et al. 2018, section 3.2; Brock et al. 2019 call the new
    ones standing statistics). In these passes, batch norms normalise by the statistics of the batch, as in
    training, and all other layers are in evaluation mode. Afterwards each batch norm has the mean and the
    unbiased variance of all batches.

    Args:
        batches: the arguments of each pass, with the same number of rows in each.
    """
    statistics: dict[Any, list[tuple[Tensor, Tensor]]] = {}

    def use_batch_statistics(norm: Any, inputs: tuple[Tensor]) -> None:
        x = at_least_float32(inputs[0])
        dims = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x, dims, correction=0)  # [C]
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        statistics.setdefault(norm, []).append((mean, torch.var(x, dims)))  # unbiased, as running_var is

    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    with ExitStack() as hooks, evaluating(network):
        for norm in norms:
            hooks.enter_context(norm.register_forward_pre_hook(use_batch_statistics))
        for batch in batches:
            network(*batch)
    for norm, pairs in statistics.items():
        means, variances = (torch.stack(part) for part in zip(*pairs, strict=True))  # [batches, C]
        norm.running_mean.copy_(means.mean(0))
        norm.running_var.copy_(variances.mean(0) + means.var(0, correction=0))


class ElementaryNorm(_BatchNorm):
    """Batch norm in elementary operations: x [B, C, ...] -> the same shape.

    It can be differentiated any number of times, torch's batch norm only twice. The gradient of a gradient
    penalty through an unrolled step is a third derivative.

    Args:
        norm: the batch norm that is replaced; its parameters and buffers are used under the same names.
        synchronised: whether the statistics are those of all processes, whose batches must have equally many
            rows. torch's SyncBatchNorm does not run on CPUs.
    """

    def __init__(self, norm: _BatchNorm, synchronised: bool = False):
        settings = {"affine": False, "track_running_stats": norm.track_running_stats}
        super().__init__(norm.num_features, norm.eps, norm.momentum, **settings)
        self.synchronised = synchronised
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accepts any shape with channels."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        x32 = at_least_float32(x)
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        mean = self._mean(x32.mean(dims))  # [C]
        centred = x32 - mean.view(shape)
        variance = self._mean(centred.square().mean(dims))  # [C]
        self._update_running_statistics(mean.detach(), variance.detach(), count=x.numel() // x.shape[1])
        scale = (variance + self.eps).rsqrt() * (1 if self.weight is None else self.weight)
        normalised = centred * scale.view(shape)
        return (normalised if self.bias is None else normalised + self.bias.view(shape)).to(x.dtype)

    def _mean(self, statistic: Tensor) -> Tensor:
        """The mean over processes, if the statistics are synchronised."""
        return mean_over_ranks(statistic) if self.synchronised else statistic

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Updates the running statistics as torch does, from `count` elements per channel on this process."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        count *= dist.get_world_size() if self.synchronised and is_distributed() else 1
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)


SynchronisedNorm = partial(ElementaryNorm, synchronised=True)


class VirtualNorm(nn.Module):
    """Virtual batch norm (Salimans et al. 2016, section 3.4): x [R + B, C, ...] -> the same shape.

    The first R rows are a reference batch, normalised by the statistics of that batch. Each other row b is
    normalised by the statistics of the R reference rows and itself: by the mean (R m_ref + m_b) / (R + 1),
    and the same mean of the squares.

    Args:
        norm: the batch norm that is replaced; its gain and bias are used.
        size: R, the number of rows of the reference batch.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, size: int):
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.eps, self.size = norm.eps, size

    def forward(self, x: Tensor) -> Tensor:
        rows = at_least_float32(x).reshape(*x.shape[:2], -1)  # [R + B, C, S]
        # A shift of all rows does not change the result, and squares of centred elements lose no digits.
        rows = rows - rows[: self.size].detach().mean((0, 2), keepdim=True)
        mean, square = rows.mean(2), rows.square().mean(2)  # [R + B, C]
        mean, square = self._include_reference(mean), self._include_reference(square)
        scale = (square - mean.square() + self.eps).rsqrt() * (1 if self.weight is None else self.weight)
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        return (rows * scale.unsqueeze(2) + shift.unsqueeze(2)).to(x.dtype).view_as(x)

    def _include_reference(self, moment: Tensor) -> Tensor:
        """Moments of single rows [R + B, C] -> the moments by which each row is normalised."""
        reference = moment[: self.size].mean(0)  # [C]
        extended = (self.size * reference + moment[self.size :]) / (self.size + 1)  # [B, C]
        return torch.cat([reference.expand(self.size, -1), extended])
