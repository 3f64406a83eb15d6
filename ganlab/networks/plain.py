"""Plain torch modules as players.

A trick that changes the structure of a network, such as its first layers, finds it in an `nn.Sequential` or a
`Branching`. It refuses any other module by name.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, error_message, require
from ganlab.core.validation import Count
from ganlab.networks import base
from ganlab.networks.priors import Prior


def generator(network: nn.Module, latent_dim: Count, shape: Sequence[int], prior: Prior) -> base.Generator:
    """A module that maps latents [B, latent_dim] to samples [B, *shape] in the range of the data.

    Raises:
        ConfigError: the module cannot be called so, or returns something else.
    """
    require_shape(output_on_blank(network, latent_dim), *shape)
    return base.Generator(base.ConditionalSequential(network), latent_dim, tuple(shape), prior)


def encoder(network: nn.Module, shape: Sequence[int], num_outputs: int) -> base.Encoder:
    """A module that maps samples [B, *shape] to [B, num_outputs], the number that the objective needs.

    Raises:
        ConfigError: the module cannot be called so, or returns something else.
    """
    require_shape(output_on_blank(network, *shape), num_outputs)
    return base.Encoder(base.ConditionalSequential(network), num_outputs)


def discriminator(network: nn.Module, shape: Sequence[int]) -> base.Discriminator:
    """A module that maps samples [B, *shape] to logits [B], [B, 1] or, over patches, [B, 1, h, w].

    It may also return the pair of its logits [B] or [B, 1] and its features [B, F]. Otherwise tricks that
    need features, such as minibatch discrimination, are refused.

    Raises:
        ConfigError: the module cannot be called so, or returns something else.
    """
    output = output_on_blank(network, *shape)
    logits, *features = output if isinstance(output, tuple) else (output,)
    num_dims = logits.ndim if torch.is_tensor(logits) else 0
    require_shape(logits, *[1][: num_dims - 1], *(logits.shape[2:] if num_dims == 4 else ()))
    for found in features:
        require_shape(found, found.shape[-1])
    num_features = 1 + sum(found.shape[1] for found in features)
    made = base.Discriminator(base.ConditionalSequential(LogitAndFeatures(network)), num_features)
    made.score, made.judges_patches, made.has_features = FirstFeature(), num_dims == 4, bool(features)
    return made


class LogitAndFeatures(base.Branching):
    """Calls a module, and joins its logits and its features to one tensor, [B, 1 + F] or [B, 1, h, w]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def branches(self) -> Sequence[nn.Module]:
        return [self.network]

    def forward(self, x: Tensor) -> Tensor:
        output = self.network(x)
        logits, *features = output if isinstance(output, tuple) else (output,)
        return torch.cat([logits[:, None] if logits.ndim == 1 else logits, *features], 1)


class FirstFeature(nn.Module):
    """The score of a network whose first feature is its logit, [B, 1 + F, ...] -> [B, 1, ...]."""

    def forward(self, features: Tensor) -> Tensor:
        return features[:, :1]


def output_on_blank(network: nn.Module, *shape: int) -> Any:
    """What a module returns in evaluation mode for two blank inputs."""
    try:
        with torch.no_grad(), base.evaluating(network):
            return network(torch.zeros(2, *shape))
    except Exception as error:  # a module may raise anything about inputs that it does not take
        reason = f"cannot be called with {[2, *shape]}: {error_message(error)}"
        raise ConfigError(reason.rstrip("."), key=".network") from error


def require_shape(output: Any, *shape: int) -> None:
    """Refuses an output on two inputs unless it is a tensor [2, *shape]."""
    found = list(output.shape) if torch.is_tensor(output) else type(output).__name__
    reason = f"returns {found} for two samples, which must be {[2, *shape]}"
    require(found == [2, *shape], reason, "change the module", ".network")
