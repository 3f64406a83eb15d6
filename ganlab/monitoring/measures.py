"""Numbers about a game in training: pure functions of samples, logits and weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def ranking(high: Tensor, low: Tensor) -> Tensor:
    """P(high > low) + P(high = low) / 2 over all pairs, [N] and [M] -> a scalar: the area under the ROC.

    It is 1/2 for equal distributions and 1 if all of `high` lie above all of `low`. It depends on the order
    of the logits alone, so it means the same for every objective.
    """
    return (1 + (high[:, None] - low).sign()).mean() / 2


def mean_distance(x: Tensor) -> Tensor:
    """The mean Euclidean distance of two different rows of x [N, D]."""
    return torch.cdist(x, x).sum() / (len(x) * (len(x) - 1))


def energy_distance(cross: Tensor, within_x: Tensor, within_y: Tensor) -> Tensor:
    """2 E|x - y| / (E|x - x'| + E|y - y'|) - 1 from mean distances; 0 for equal distributions."""
    return 2 * cross / (within_x + within_y) - 1


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm over all elements of some tensors, a scalar; 0 if there are none."""
    return nn.utils.get_total_norm([*tensors])


def relative_change(new: Sequence[Tensor], old: Sequence[Tensor]) -> Tensor:
    """|new - old| / |old| over all elements of two lists of tensors."""
    return norm(torch._foreach_sub([*new], [*old])) / norm(old).clamp_min(1e-12)


def saturation(x: Tensor, low: float, high: float) -> Tensor:
    """The share of elements that lie within a hundredth of the range [low, high] of its ends."""
    margin = (high - low) / 100
    return ((x < low + margin) | (x > high - margin)).float().mean()


def checkerboard(x: Tensor) -> Tensor:
    """The share of the variance of images [N, C, H, W] that has a period of two pixels, a scalar.

    Such are alternate rows, alternate columns and the checkerboard; in white noise, 3 of H W - 1 parts.
    """
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    power = torch.fft.fft2(x.float()).abs().square().mean((0, 1))  # [H, W]
    h, w = power.shape[0] // 2, power.shape[1] // 2
    return (power[h, 0] + power[0, w] + power[h, w]) / (power.sum() - power[0, 0]).clamp_min(1e-12)
