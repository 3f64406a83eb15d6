"""Planted faults: mistakes that people make in their own code, as small plug-ins of ganlab."""

from typing import Any

import torch
from torch import Tensor

from ganlab.data.vision import Digits
from ganlab.networks.base import ConditionalSequential, last_layer
from ganlab.training.play import Alternating
from ganlab.tricks.base import Networks, Sample, Trick, Turn


class Detached(Trick):
    """The generator's samples are detached on its own turn too, so it gets no gradient."""

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        return sample.detach()


class ConstantLatents(Trick):
    """All latents of a batch are the same, as when one is drawn and expanded."""

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        return latent[:1].expand_as(latent)


class StaleBatchNorm(Trick):
    """The running statistics of the generator's batch norm stay where they began."""

    def networks(self, networks: Networks) -> None:
        for layer in networks.generator.modules():
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.momentum = 1e-5


class OneOptimizer(Alternating):
    """One optimiser over both players: the generator's update moves the discriminator, too."""

    def __call__(self, phase: Any, batch: Any) -> None:
        generator, discriminator = (phase.player_optimizers[name] for name in ("generator", "discriminator"))
        if len(generator.optimizer.param_groups) == 1:
            settings = {
                key: value for key, value in generator.optimizer.param_groups[0].items() if key != "params"
            }
            generator.optimizer.add_param_group({"params": discriminator.weights, **settings})
            generator.weights = [*generator.weights, *discriminator.weights]
        super().__call__(phase, batch)


class UnscaledDigits(Digits):
    """Digits in [0, 1], although the config says [-1, 1], so that tanh ends the generator."""

    def _prepare(self, batches: Any, device: Any) -> Any:
        low, high = self.value_range or (0, 1)
        for x, condition in super()._prepare(batches, device):
            yield (x - low) / (high - low), condition


class Loud(Trick):
    """The weights of the generator's last layer are a hundred times too large, so that tanh saturates."""

    def networks(self, networks: Networks) -> None:
        with torch.no_grad():
            last_layer(networks.generator.body).weight.mul_(100)


class Checkerboard(Trick):
    """Every second pixel of what the generator makes is fainter, as where strides and kernels do not fit.

    Which ones differs from sample to sample, so that the generator cannot learn to balance it.
    """

    def networks(self, networks: Networks) -> None:
        networks.generator.body = ConditionalSequential(networks.generator.body, Faint())


class Faint(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (torch.arange(side, device=x.device) for side in x.shape[-2:])
        first = torch.arange(len(x), device=x.device).view(-1, 1, 1, 1)
        return x * (1 - 0.7 * ((first + rows[:, None] + columns) % 2))
