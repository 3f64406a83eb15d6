"""A run as a list of games: each has its own players, objective, way of playing and optimisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from ganlab.data.sources import LabelledBatch, Samples
from ganlab.training.base import GameModule


class Stage(NamedTuple):
    """A game that is played for so many rounds before another; `prepare` is called before its first."""

    module: GameModule
    rounds: int
    prepare: Callable[[], None]


class Stages(GameModule):
    """A game, and those that are played before it.

    `game` is the one that the run is about: it is measured and sampled, and its `step` counts all rounds
    of the run, so that round k is a function of (seed, k) in every stage. A game's schedules begin with it.

    Args:
        stages: the earlier games by name, in their order.
        last: what the game itself is made of, as `GameModule` takes it.
    """

    def __init__(self, stages: Mapping[str, Stage], **last: Any):
        super().__init__(**last)
        self.stages = stages
        self.before = nn.ModuleDict({name: stage.module for name, stage in stages.items()})
        begins = 0
        for stage in stages.values():
            stage.module.game.first_step = begins
            begins += stage.rounds
        self.game.first_step = begins

    def setup(self, stage: str) -> None:
        super().setup(stage)
        for part in self.stages.values():
            part.module.rank, part.module.world_size = self.rank, self.world_size

    def configure_optimizers(self) -> list[Optimizer]:
        earlier = [o for stage in self.stages.values() for o in stage.module.configure_optimizers()]
        return earlier + super().configure_optimizers()

    def round(self, batch: Samples | LabelledBatch) -> None:
        name = self.now
        if name is None:
            super().round(batch)
            return
        module = self.stages[name].module
        module.game.step = self.game.step
        if module.game.steps_played == 0:
            self.stages[name].prepare()
            module.game.on_weights_loaded()
        module.round(batch)
        self.logged = {f"{name}/{term}": value for term, value in module.logged.items()}
        self.game.step += 1

    @property
    def now(self) -> str | None:
        """The earlier game whose turn it is; None: the game itself."""
        for name, stage in self.stages.items():
            if self.game.step < stage.module.game.first_step + stage.rounds:
                return name
        return None
