"""Gradients of verdicts with respect to samples, and points to take them at, for gradient penalties."""

import torch
from torch import Tensor

from ganlab.core.turn import Sample, Turn, at_least_float32


def input_gradients(outputs: Tensor, x: Tensor) -> Tensor:
    """The gradient of each output with respect to the samples it depends on, [N, D], differentiable.

    Args:
        outputs: [N], or [N, h, w] over patches, which are summed.
        x: samples [B, ...], where output i depends on the B / N consecutive samples of pack i alone; D is the
            number of elements of a pack.
    """
    (gradient,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
    return at_least_float32(gradient).reshape(len(outputs), -1)


def row_norms(rows: Tensor) -> Tensor:
    """Euclidean norms of rows [N, D] -> [N], at least 1e-6: the square root has no finite slope at 0."""
    return rows.square().sum(1).clamp_min(1e-12).sqrt()


def interpolates(turn: Turn, name: str, n: int) -> Sample:
    """Uniformly drawn points on the lines from fake to real samples, with the conditions of the real ones.

    Args:
        name: the random stream that the positions on the lines are drawn from.
        n: the number of positions; the samples of a pack have the same one.
    """
    real, fake = turn.real.x, turn.fake.x
    share = turn.random.uniform(name, n, *[1] * (real.ndim - 1)).to(real.dtype)
    share = share.repeat_interleave(len(real) // n, 0)  # [B, 1, ...]
    points = share * real + (1 - share) * fake
    return turn.real._replace(x=points if points.requires_grad else points.requires_grad_())
