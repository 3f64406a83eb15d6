"""Hidden activations of a trained network."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from ganlab.networks.base import Discriminator
from ganlab.networks.mlp import Maxout

# What ends a hidden layer; nn.ReLU6 is an nn.Hardtanh.
ACTIVATIONS = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.Mish,
    nn.PReLU,
    nn.RReLU,
    nn.ReLU,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
    Maxout,
)
SIDE = 4  # of the grid that planes are pooled to


@torch.no_grad()
def hidden_activations(discriminator: Discriminator, x: Tensor) -> list[Tensor]:
    """What each activation in the body makes of samples [N, *shape], in their order: float32 [N, F] each.

    Planes are max-pooled to a grid of 4 x 4, smaller ones stay as they are. They are handed to the CPU layer
    by layer; scores and heads are not asked. Empty where the body has no activation as a module of its own.
    """
    outputs: list[Tensor] = []

    def take(_: nn.Module, __: object, output: Tensor) -> None:
        # A copy: layers behind may work in place.
        outputs.append(pooled(output).to("cpu", torch.float32, copy=True))

    condition: Tensor | None = None
    with ExitStack() as hooks:
        for layer in discriminator.body.modules():
            if isinstance(layer, ACTIVATIONS):
                hooks.enter_context(layer.register_forward_hook(take))
        for step in discriminator.inputs:
            x, condition = step(x, condition)
        discriminator.body(x, condition)
    return outputs


def pooled(x: Tensor) -> Tensor:
    """The largest numbers of [N, C, H, W] in a grid of 4 x 4, or of fewer where there are fewer; [N, F]."""
    if x.ndim == 4:
        height, width = (min(side, SIDE) for side in x.shape[2:])
        x = adaptive_max_pool2d(x, (height, width))
    return x.flatten(1)
