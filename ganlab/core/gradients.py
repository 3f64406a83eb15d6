"""Slopes of what a discriminator says, and where they are taken: what gradient penalties are made of."""

import torch
from torch import Tensor

from ganlab.core.turn import Sample, Turn, at_least_float32


def input_gradients(verdicts: Tensor, x: Tensor) -> Tensor:
    """The gradients of verdicts [N, ...] at the samples x [B, ...] that they judge, [N, D], differentiable.

    A row is over all numbers of what one verdict judges: one sample, or the B / N samples of a pack, which
    lie one after the other in x. Of a verdict over patches, [N, h, w], it is the slope of their sum.
    """
    (slope,) = torch.autograd.grad(verdicts.sum(), x, create_graph=True)
    return at_least_float32(slope).reshape(len(verdicts), -1)


def row_norms(slopes: Tensor) -> Tensor:
    """The lengths of rows [N, D] -> [N]; held at 1e-6 from below, where a root would be infinitely steep."""
    return slopes.square().sum(1).clamp_min(1e-12).sqrt()


def interpolates(turn: Turn, name: str, n: int) -> Sample:
    """Uniformly drawn points on the lines from fake to real samples; with the real ones' conditions.

    Args:
        name: of the stream that is drawn from.
        n: how many are drawn; the samples of a pack have one share.
    """
    real, fake = turn.real.x, turn.fake.x
    share = turn.random.uniform(name, n, *[1] * (real.ndim - 1)).to(real.dtype)
    share = share.repeat_interleave(len(real) // n, 0)  # [B, 1, ...]
    points = share * real + (1 - share) * fake
    return turn.real._replace(x=points if points.requires_grad else points.requires_grad_())
