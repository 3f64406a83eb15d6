"""What training must not come to: terms or weights that are not finite, or explode."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from statistics import median
from typing import Any, get_args

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn

from ganlab.errors import Diverged
from ganlab.training.base import GameModule
from ganlab.turn import Player

EARLY = 100  # rounds whose losses are those that later ones are held against
TIMES = 1e6
WEIGHT = "weight"


class Divergence(Callback):
    """Knows how large losses were at first, and the largest weight before the first round.

    Numbers below 1 count as 1: a loss may begin at nought, and is none the worse for it.
    """

    def __init__(self) -> None:
        self.early: dict[str, list[float]] = {}

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        self.early.setdefault(WEIGHT, [float(largest(module))])

    def check(self, step: int, found: Mapping[str, float]) -> None:
        """Numbers of a round, by name.

        Raises:
            Diverged: one is NaN or infinite, or a loss or weight is a million times what it was at first.
        """
        for name, value in found.items():
            if not isfinite(value):
                raise Diverged(step, f"{name} is {value}" if name != WEIGHT else "a weight is not finite")
            *_, player, term = ("", *name.split("/"))
            if name != WEIGHT and (player not in get_args(Player) or term == "gradient_norm"):
                continue  # what a trick tells, or what clipping bounds
            early = self.early.setdefault(name, [])
            if not early or (step <= EARLY and name != WEIGHT):
                early.append(abs(value))
            first = median(early)
            if abs(value) > TIMES * max(first, 1):
                said = f"a {name} of {value:.3g} is as good as not finite: it was {first:.3g} at first"
                raise Diverged(step, said)

    def state_dict(self) -> dict[str, Any]:
        return {"early": self.early}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.early = state["early"]


def largest(module: nn.Module) -> Tensor:
    """The largest absolute value of all weights, [] on their device; NaN where one is."""
    with torch.no_grad():
        return nn.utils.get_total_norm(module.parameters(), torch.inf)
