"""Numbers about a game in training: functions of samples, logits and weights, and of a step's update."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm as norm

from ganlab.core.players import path

GROWTH_STEPS = 1000  # weights may grow by their first norm once in this number of steps
Numbers = dict[str, Tensor]
Weights = dict[str, list[Tensor]]  # of each player, by its name; in a composite of games by "part/player"


def ranking(high: Tensor, low: Tensor) -> Tensor:
    """P(high > low) + P(high = low) / 2 over all pairs, [N] and [M] -> a scalar: the area under the ROC.

    It is 1/2 for equal distributions and 1 if all of `high` lie above all of `low`. It depends on the order
    of the logits alone, so it means the same for every objective.
    """
    return (1 + (high[:, None] - low).sign()).mean() / 2


def saturation(x: Tensor, low: float, high: float) -> Tensor:
    """The share of elements that lie within a hundredth of the range [low, high] of its ends."""
    margin = (high - low) / 100
    return ((x < low + margin) | (x > high - margin)).float().mean()


def checkerboard(x: Tensor) -> Tensor:
    """The share of the variance of images [N, C, H, W] that has a period of two pixels, a scalar.

    Such are alternate rows, alternate columns and the checkerboard; in white noise, 3 of H W - 1 parts.
    """
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    power = torch.fft.fft2(x.float()).abs().square().mean((0, 1))  # [H, W]
    h, w = power.shape[0] // 2, power.shape[1] // 2
    return (power[h, 0] + power[0, w] + power[h, w]) / (power.sum() - power[0, 0]).clamp_min(1e-12)


def weights_of(phase: Any) -> Weights:
    """The weights of all players of a phase."""
    parts, players = phase.game.parts.items(), phase.game.players
    return {path(name, player): [*part.weights(player)] for name, part in parts for player in players}


@torch.no_grad()
def update_numbers(phase: Any, before: Weights, first_norms: Mapping[str, float]) -> dict[str, Numbers]:
    """The numbers of each part of a game after a step, by name: norms over all elements, and tensors counted.

    All players have a growth, and those that the tricks let move have the other numbers, too.

    Args:
        before: copies of the weights before the step.
        first_norms: the norms of the weights before the first step, with which they are compared.
    """
    found: dict[str, Numbers] = {part: {} for part in phase.game.parts}
    for key, own in weights_of(phase).items():
        part, _, player = key.rpartition("/")
        numbers, usual = found[part], max(first_norms[key], 1e-12) * (1 + phase.step / GROWTH_STEPS)
        numbers[f"growth/{player}"] = norm(own) / usual
        if part in phase.moving[player]:
            numbers[f"gradient/{player}"] = norm([w.grad for w in own if w.grad is not None])
            changes, old = torch._foreach_sub(own, before[key]), norm(before[key]).clamp_min(1e-12)
            numbers[f"change/{player}"] = norm(changes) / old
            groups = phase.player_optimizers[key].optimizer.param_groups
            foreign = {w for group in groups for w in group["params"]}.difference(own)
            numbers[f"foreign/{player}"] = torch.tensor(float(len(foreign)))
    for numbers in found.values():
        numbers["growth"] = torch.stack([numbers[name] for name in numbers if "growth" in name]).min()
    return found
