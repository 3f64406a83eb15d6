"""Hidden activations of a trained network."""

from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from ganlab.networks.base import Discriminator
from ganlab.networks.mlp import Maxout

# Names of classes in torch.nn; nn.ReLU6 is a subclass of nn.Hardtanh.
NAMES = "CELU ELU GELU Hardswish Hardtanh LeakyReLU Mish PReLU RReLU ReLU SELU SiLU Sigmoid Softplus Tanh"
ACTIVATIONS: tuple[type[nn.Module], ...] = (*(getattr(nn, name) for name in NAMES.split()), Maxout)
GRID = 4  # height and width to which feature maps are pooled


@torch.no_grad()
def hidden_activations(discriminator: Discriminator, x: Tensor) -> list[Tensor]:
    """The outputs of the activation layers in a discriminator's body, in order: float32 [N, F] each.

    Feature maps are max-pooled to 4 x 4, unless they are smaller. Each output is moved to the CPU as soon as
    it is computed. The list is empty if no activation is a module, such as nn.ReLU.

    Args:
        x: the samples [N, *shape] that the discriminator receives.
    """
    outputs: list[Tensor] = []

    def record(_: nn.Module, __: object, output: Tensor) -> None:
        if output.ndim == 4:  # feature maps
            output = adaptive_max_pool2d(output, [min(side, GRID) for side in output.shape[2:]])
        # Copied because the next layer may change its input in place.
        outputs.append(output.flatten(1).to("cpu", torch.float32, copy=True))

    condition: Tensor | None = None
    with ExitStack() as hooks:
        for layer in discriminator.body.modules():
            if isinstance(layer, ACTIVATIONS):
                hooks.enter_context(layer.register_forward_hook(record))
        for transform in discriminator.inputs:
            x, condition = transform(x, condition)
        discriminator.body(x, condition)
    return outputs
