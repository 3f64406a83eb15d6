"""Residual blocks (He et al. 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from ganlab.networks.base import Branching, ConditionalSequential, Conditioned


class ResidualBlock(Branching, Conditioned):
    """The sum of a path of layers and a shortcut: [B, ...] -> [B, ...].

    Args:
        path: the layers whose output is added to that of the shortcut.
        shortcut: the layers of the shortcut, such as a convolution of kernel 1 where the number of channels
            changes, or a pooling where the size does; empty: the input itself is added.
    """

    def __init__(self, path: Sequence[nn.Module], shortcut: Sequence[nn.Module] = ()):
        super().__init__()
        self.shortcut, self.path = ConditionalSequential(*shortcut), ConditionalSequential(*path)

    def branches(self) -> Sequence[nn.Module]:
        return self.path, self.shortcut

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.path(x, condition) + self.shortcut(x, condition)
