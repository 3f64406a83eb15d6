"""Losses of given logits, by a discriminator whose logits are the samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Batch, Player, Sample, Turn, Verdict
from ganlab.objectives.base import Objective
from ganlab.tricks.base import Tricks

ONES = {"discriminator": 1.0, "generator": 1.0}
REAL = torch.tensor([-2.0, 0.3, 1.5], dtype=torch.float64)
FAKE = torch.tensor([-1.2, 0.8, 2.5], dtype=torch.float64)


class IdentityDiscriminator(nn.Module):
    """A discriminator whose logits are the samples."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        return Verdict(x, x.flatten(1) if x.ndim > 1 else x[:, None])


def terms(
    objective: Objective,
    player: Player,
    real: Tensor = REAL,
    fake: Tensor = FAKE,
    tricks: Tricks | None = None,
) -> Tensor:
    """A player's loss if the logits of the data are `real` and those of the fakes `fake`."""
    turn = Turn(
        player, 0, Batch(Sample(real)), None, IdentityDiscriminator(), tricks or Tricks({}), RandomStreams(0)
    )
    return objective(turn.replace(fake=Sample(fake)))["adversarial"]


def slopes(
    objective: Objective, player: Player, real: Tensor = REAL, fake: Tensor = FAKE
) -> tuple[Tensor, Tensor]:
    """The derivatives of the summed loss with respect to the logits of the data and of the fakes."""
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    loss = terms(objective, player, real, fake).sum()
    return torch.autograd.grad(loss, (real, fake), allow_unused=True, materialize_grads=True)
