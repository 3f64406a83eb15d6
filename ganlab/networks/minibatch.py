"""What a discriminator may see of a batch as a whole: how alike its samples are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.errors import UNSET, require
from ganlab.core.turn import at_least_float32
from ganlab.networks.base import Conditioned


class Closeness(nn.Module):
    """features [B, F] -> o [B, kernels]: how close each sample is to all of its batch.

    M_i = T f(x_i), [kernels, dims], and o(x_i)_b = sum_j exp(-|M_ib - M_jb|_1), over the samples j of the
    global batch. As in the paper's sum j = i counts and adds one, which the released code takes away: weights
    from there want a bias that is higher by the sum of the score's. In evaluation each process has batches of
    its own.
    """

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.shape = (kernels, dims)
        self.projection = nn.Linear(num_features, kernels * dims, bias=False)  # T

    def forward(self, features: Tensor) -> Tensor:
        mine = at_least_float32(self.projection(features)).unflatten(1, self.shape)  # [B, kernels, dims]
        everyone = all_gather_with_grad(mine) if self.training else mine  # [N, kernels, dims]
        distances = (mine.unsqueeze(1) - everyone).abs().sum(3)  # [B, N, kernels]
        return (-distances).exp().sum(1)


class ClosenessScore(Conditioned):
    """What a linear score of features with the closeness beside them adds to one without, [B]."""

    def __init__(self, num_features: int, kernels: int, dims: int):
        super().__init__()
        self.closeness = Closeness(num_features, kernels, dims)
        self.score = nn.Linear(kernels, 1, bias=False)

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        return self.score(self.closeness(features)).squeeze(1)


class MinibatchStandardDeviation(nn.Module):
    """[B, C, ...] -> [B, C + 1, ...]: one more channel says how much the samples of a group differ.

    Neighbours in the batch form groups of `size`; in the code of StyleGAN2 those that lie B / size apart do,
    which in a batch of random order is as good. The deviation of each number over the group (not the
    unbiased one), averaged over all numbers, is the same at all places of all of its samples.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        refuse_partial_groups(self.size, len(x))
        groups = at_least_float32(x).unflatten(0, (-1, self.size))  # [G, size, C, ...]
        variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)  # [G, C, ...]
        # Equal samples have no deviation, and the root no slope there.
        deviation = (variance + 1e-8).sqrt().flatten(1).mean(1)  # [G]
        rows = deviation.repeat_interleave(self.size).to(x.dtype)  # [B]
        return torch.cat([x, rows.view(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])], 1)


def refuse_partial_groups(size: int, rows: int) -> None:
    """Refuses a batch of `rows` samples, or packs of samples, that is not a multiple of `size`."""
    reason = f"gives each process {rows} samples or packs, which is not a multiple of group_size={size}"
    require(rows % size == 0, "data.batch_size", UNSET, reason, "change one of them")
