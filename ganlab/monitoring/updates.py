"""How the players' weights change in one step, and whose weights their optimisers hold."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganlab.core.players import path
from ganlab.monitoring.measures import norm, relative_change

GROWTH_STEPS = 1000  # weights may grow by their first norm once in this number of steps
Numbers = dict[str, Tensor]
Weights = dict[str, list[Tensor]]  # of each player, by its name; in a composite of games by "part/player"


def weights_of(phase: Any) -> Weights:
    """The weights of all players of a phase."""
    parts, players = phase.game.parts.items(), phase.game.players
    return {path(name, player): [*part.weights(player)] for name, part in parts for player in players}


@torch.no_grad()
def update_numbers(phase: Any, before: Weights, first_norms: Mapping[str, float]) -> dict[str, Numbers]:
    """The numbers of each part of a game after a step, by name; of those players that the tricks let move.

    Args:
        before: copies of the weights before the step.
        first_norms: the norms of the weights before the first step, with which they are compared.
    """
    found: dict[str, Numbers] = {}
    for player, part in ((player, part) for player, parts in phase.moving.items() for part in parts):
        key, numbers, weights = path(part, player), found.setdefault(part, {}), weights_of(phase)
        own = weights[key]
        numbers[f"gradient/{player}"] = norm([w.grad for w in own if w.grad is not None])
        numbers[f"change/{player}"] = relative_change(own, before[key])
        usual = max(first_norms[key], 1e-12) * (1 + phase.step / GROWTH_STEPS)
        numbers[f"growth/{player}"] = norm(own) / usual
        groups = phase.player_optimizers[key].optimizer.param_groups
        held, ids = [w for group in groups for w in group["params"]], {*map(id, own)}
        numbers[f"foreign/{player}"] = torch.tensor(float(sum(id(w) not in ids for w in held)))
    for numbers in found.values():
        numbers["growth"] = torch.stack([numbers[name] for name in numbers if "growth" in name]).min()
    return found
