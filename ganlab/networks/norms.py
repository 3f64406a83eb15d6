"""Normalisation layers that tricks put in the place of batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganlab.turn import accurate

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class VirtualNorm(nn.Module):
    """x [R + B, C, ...], the reference first -> the same shape, with the gain and bias of a batch norm.

    The statistics of row b are the mean over R + 1 rows, (R m_ref + m_b) / (R + 1), likewise of the
    squares; the reference's own rows are normalised by the reference alone.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, size: int):
        super().__init__()
        self.weight = norm.weight
        self.bias = norm.bias
        self.eps = norm.eps
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        rows = accurate(x).flatten(2) if x.ndim > 2 else accurate(x).unsqueeze(2)  # [R + B, C, S]
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
