"""How the players' weights change in one step, and by whose optimiser."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganlab.core.players import path
from ganlab.monitoring.measures import norm, relative_change

if TYPE_CHECKING:
    from ganlab.training.module import Phase


class UpdateWatch:
    """Watches one step of a phase, from its construction until `numbers` is called.

    A player may only move its own weights. Tricks may change weights too, but not within the step of an
    optimiser; so a change of others' weights in there means that an optimiser has them by mistake.
    """

    def __init__(self, phase: Phase):
        self.phase = phase
        self.weights = self.weights_of(phase)
        self.before = {key: copies(weights) for key, weights in self.weights.items()}
        self.others: dict[
            str, list[Tensor]
        ] = {}  # the weights of all others when an optimiser begins its step
        self.foreign: dict[str, Tensor] = {}  # by how much an optimiser has changed them
        self.hooks: list[Any] = []
        for key, player in phase.player_optimizers.items() if len(self.weights) > 1 else ():
            self.hooks.append(player.optimizer.register_step_pre_hook(partial(self._begin, key)))
            self.hooks.append(player.optimizer.register_step_post_hook(partial(self._end, key)))

    @staticmethod
    def weights_of(phase: Phase) -> dict[str, list[nn.Parameter]]:
        """The weights of each player, by its name; in a composite of games by "part/player"."""
        parts, players = phase.game.parts.items(), phase.game.players
        return {path(name, player): part.weights(player) for name, part in parts for player in players}

    @classmethod
    def sizes(cls, phase: Phase) -> dict[str, float]:
        """The norm of the weights of each player."""
        return {key: float(norm([*weights])) for key, weights in cls.weights_of(phase).items()}

    def _others(self, key: str) -> list[nn.Parameter]:
        return [weight for name, weights in self.weights.items() if name != key for weight in weights]

    def _begin(self, key: str, *_: Any) -> None:
        self.others[key] = copies(self._others(key))

    def _end(self, key: str, *_: Any) -> None:
        self.foreign[key] = relative_change([*self._others(key)], self.others.pop(key))

    @torch.no_grad()
    def numbers(self) -> dict[str, dict[str, Tensor]]:
        """The numbers of each part of the game, by name; of those players that the tricks let move."""
        for hook in self.hooks:
            hook.remove()
        found: dict[str, dict[str, Tensor]] = {}
        for player, parts in self.phase.moving.items():
            for part in parts:
                key = path(part, player)
                weights = self.weights[key]
                gradients = [weight.grad for weight in weights if weight.grad is not None]
                numbers = found.setdefault(part, {})
                numbers[f"gradient/{player}"] = norm(gradients)
                numbers[f"change/{player}"] = relative_change([*weights], self.before[key])
                numbers[f"size/{player}"] = norm([*weights])
                if key in self.foreign:
                    numbers[f"foreign/{player}"] = self.foreign[key]
        return found


@torch.no_grad()
def copies(weights: list[nn.Parameter]) -> list[Tensor]:
    return [weight.detach().clone() for weight in weights]
