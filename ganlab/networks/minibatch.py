"""Layers that let a discriminator compare the samples of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.errors import UNSET, require
from ganlab.core.turn import at_least_float32
from ganlab.networks.base import Conditioned


class Closeness(nn.Module):
    """Minibatch discrimination (Salimans et al. 2016, section 3.2): features [B, F] -> [B, kernels].

    With M_i = T f(x_i), [kernels, dims], the outputs are o(x_i)_b = sum_j exp(-|M_ib - M_jb|_1) over the
    samples j of the global batch; in evaluation, over those of the process. The term j = i adds 1, as in the
    paper. The released code subtracts it, so the score's bias has to be raised for weights from there.
    """

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.shape = (kernels, dims)
        self.projection = nn.Linear(num_features, kernels * dims, bias=False)  # T

    def forward(self, features: Tensor) -> Tensor:
        own = at_least_float32(self.projection(features)).unflatten(1, self.shape)  # [B, kernels, dims]
        others = all_gather_with_grad(own) if self.training else own  # [N, kernels, dims]
        distances = (own.unsqueeze(1) - others).abs().sum(3)  # [B, N, kernels]
        return (-distances).exp().sum(1)


class ClosenessScore(Conditioned):
    """The part of a linear score of features and closeness that depends on the closeness, [B]."""

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.closeness = Closeness(num_features, kernels, dims)
        self.score = nn.Linear(kernels, 1, bias=False)

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        return self.score(self.closeness(features)).squeeze(1)


class MinibatchStandardDeviation(nn.Module):
    """Appends a channel with the standard deviation of a group of samples: [B, C, ...] -> [B, C + 1, ...].

    The (biased) deviation of each element over the group, averaged over all elements, fills the channel of
    all samples of the group. Groups are `size` consecutive samples; in the code of StyleGAN2, samples at
    distances of B / size, which is equivalent for a batch in random order.

    Raises:
        ConfigError: when called on a batch that `size` does not divide.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        refuse_partial_groups(self.size, len(x))
        groups = at_least_float32(x).unflatten(0, (-1, self.size))  # [G, size, C, ...]
        variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)  # [G, C, ...]
        # 1e-8 because the square root has no finite slope at 0, the variance of equal samples.
        deviation = (variance + 1e-8).sqrt().flatten(1).mean(1)  # [G]
        rows = deviation.repeat_interleave(self.size).to(x.dtype)  # [B]
        return torch.cat([x, rows.view(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])], 1)


def refuse_partial_groups(size: int, rows: int) -> None:
    """Refuses a batch of `rows` samples, or packs of samples, that is not a multiple of `size`."""
    reason = f"gives each process {rows} samples or packs, which is not a multiple of group_size={size}"
    require(rows % size == 0, "data.batch_size", UNSET, reason, "change one of them")
