"""Costs of given logits, computed with a discriminator that returns its input as the logit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.players import Player
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.objectives.base import Objective
from ganlab.tricks.composition import Tricks

ONES = {"discriminator": 1.0, "generator": 1.0}  # the weights of both players' costs
REAL = torch.tensor([-2.0, 0.3, 1.5], dtype=torch.float64)
FAKE = torch.tensor([-1.2, 0.8, 2.5], dtype=torch.float64)


class IdentityDiscriminator(nn.Module):
    """A discriminator whose logits and features are the samples themselves."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        return Verdict(x, x.flatten(1) if x.ndim > 1 else x[:, None])


def player_cost(
    objective: Objective,
    player: Player,
    real: Tensor = REAL,
    fake: Tensor = FAKE,
    tricks: Tricks | None = None,
) -> Tensor:
    """A player's cost for the logits `real` of the data and `fake` of the generated samples."""
    turn = Turn(
        player,
        0,
        Batch(Sample(real)),
        {"discriminator": IdentityDiscriminator()},
        tricks or Tricks({}),
        RandomStreams(0),
    )
    return objective(turn.replace(fake=Sample(fake)))["adversarial"]


def logit_gradients(
    objective: Objective, player: Player, real: Tensor = REAL, fake: Tensor = FAKE
) -> tuple[Tensor, Tensor]:
    """The gradients of the summed cost with respect to the real and the fake logits."""
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    cost = player_cost(objective, player, real, fake).sum()
    return torch.autograd.grad(cost, (real, fake), allow_unused=True, materialize_grads=True)
