"""Gradients of verdicts with respect to samples, and the points at which gradient penalties take them."""

import torch
from torch import Tensor

from ganlab.core.batch import Sample, at_least_float32
from ganlab.core.turn import Turn


def input_gradients(outputs: Tensor, x: Tensor) -> Tensor:
    """The gradient of each output with respect to the samples that it depends on, [N, D], differentiable.

    Args:
        outputs: [N], or [N, h, w] over patches; the gradient is then that of the sum over the patches.
        x: samples [B, ...]. Output i depends on the i-th pack alone. A pack is B / N consecutive samples,
            which together have D elements.
    """
    # One pass suffices: a sample affects one output alone, so the gradient of the sum is that of this output.
    (gradient,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
    return at_least_float32(gradient).reshape(len(outputs), -1)


def row_norms(rows: Tensor) -> Tensor:
    """Euclidean norms of rows, [N, D] -> [N], at least 1e-6, because sqrt has no finite slope at 0."""
    return rows.square().sum(1).clamp_min(1e-12).sqrt()


def interpolate_samples(turn: Turn, stream: str, n: int) -> Sample:
    """Uniformly drawn points on the lines from fake to real samples, with the conditions of the real ones.

    If the discriminator judges codes, those of a point are at the same position between the two codes.

    Args:
        n: the number of positions. The B / n consecutive samples of a pack share one position.
    """
    real, fake = turn.real.x, turn.fake.x
    position = turn.random.uniform(stream, n, *[1] * (real.ndim - 1)).to(real.dtype)  # [n, 1, ...]
    position = position.repeat_interleave(len(real) // n, dim=0)  # [B, 1, ...]; 0: fake, 1: real
    points = position * real + (1 - position) * fake
    code = turn.real.code
    if code is not None and turn.fake.code is not None:
        code = torch.lerp(turn.fake.code, code, position.flatten(1).to(code.dtype))
    return turn.real._replace(x=points.requires_grad_(), code=code)
