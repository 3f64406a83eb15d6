"""The outputs of the activation layers in a trained discriminator, as features of its samples."""

from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from ganlab.networks.base import Discriminator


class Activation(nn.Module):
    """Base class of activation layers that torch.nn lacks."""


NAMES = "CELU ELU GELU Hardswish Hardtanh LeakyReLU Mish PReLU RReLU ReLU SELU SiLU Sigmoid Softplus Tanh"
# The classes of torch.nn with these names (nn.ReLU6 is a subclass of nn.Hardtanh), and those of networks.
ACTIVATIONS: tuple[type[nn.Module], ...] = (*(getattr(nn, name) for name in NAMES.split()), Activation)
MAX_SIDE = 4  # the height and width to which larger feature maps are pooled


@torch.no_grad()
def hidden_activations(discriminator: Discriminator, x: Tensor) -> list[Tensor]:
    """The outputs of all activation layers in a discriminator's body, in their order: [N, F] float32 each.

    Feature maps of convolutions are max-pooled to at most 4 x 4. The list is empty if the network has no
    activation layers, because it calls functions such as `torch.relu` instead.
    """
    outputs: list[Tensor] = []

    def record(layer: nn.Module, inputs: object, output: Tensor) -> None:
        if output.ndim == 4:  # feature maps
            output = adaptive_max_pool2d(output, [min(side, MAX_SIDE) for side in output.shape[2:]])
        # The output is copied, because the next layer may change it in place. The copy is on the CPU, to save
        # GPU memory.
        outputs.append(output.flatten(1).to("cpu", torch.float32, copy=True))

    with ExitStack() as hooks:
        for layer in discriminator.body.modules():
            if isinstance(layer, ACTIVATIONS):
                hooks.enter_context(layer.register_forward_hook(record))
        discriminator.body(*discriminator.input_transforms(x, None))
    return outputs
