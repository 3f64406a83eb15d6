"""Writes the scalars of a step to metrics.csv and the loggers, and ends a run that diverges."""

from collections.abc import Mapping
from math import isfinite
from statistics import median
from typing import Any, get_args

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import Diverged
from ganlab.core.turn import Player
from ganlab.training.callbacks.metrics_file import MetricsFile
from ganlab.training.module import GameModule

EARLY = 100  # the first steps, whose losses later ones are compared with
EXPLODED = 1e6  # times the early value
WEIGHT = "weight"  # the largest absolute value of all weights


class LogScalars(Callback):
    """Reads the scalars of every `every`-th step and of the last, and writes them, with the metrics.

    Raises:
        Diverged: a scalar or a weight is not finite, or exploded; the row that shows it is written first.
    """

    state_key = "Log"  # in checkpoints

    def __init__(self, directory: RunDirectory, every: int, times: Timetable):
        self.directory = directory
        self.file = MetricsFile(directory.metrics)
        self.every = every
        self.times = times
        self.early: dict[str, list[float]] = {}  # absolute values by name; kept when the run is resumed
        self.latest: dict[str, float] = {}  # the scalars that were read last
        self.logged = 0  # the last step that the loggers have; a resume may play some steps again

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        self.early.setdefault(WEIGHT, [float(largest_weight(module))])
        if trainer.is_global_zero:
            # Also kept in the summary, because this resume cuts rows off, which a second one cannot see.
            self.logged = max(self.file.last_step(), self.directory.summary().get("logged", 0))
            self.directory.write_summary(logged=self.logged)
            self.file.cut(module.game.step)

    def is_due(self, module: GameModule) -> bool:
        """Whether the scalars of the step that was just played are read, which waits for the device."""
        step = module.game.step
        return step % self.every == 0 or step == self.times.total or bool(module.recorder.metrics)

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if not self.is_due(module):
            return
        step, recorder = module.game.step, module.recorder
        found = recorder.read(**{WEIGHT: largest_weight(module)})
        self.latest = {name: found[name] for name in recorder.scalars}
        row = {"step": step, "images": self.times.images_seen(step), **self.latest, **recorder.metrics}
        if trainer.is_global_zero:
            self.file.append(row)
        if step > self.logged:
            for logger in trainer.loggers:
                logger.log_metrics(row, step)
        self.check(step, found)

    def check(self, step: int, scalars: Mapping[str, float]) -> None:
        """Compares losses and the largest weight with their early values, of which none counts as below 1.

        Raises:
            Diverged: a scalar is not finite; or a loss or the weight is a million times its early value.
        """
        for name, value in scalars.items():
            if not isfinite(value):
                raise Diverged(step, "a weight is not finite" if name == WEIGHT else f"{name} is {value}")
            if name != WEIGHT and not is_loss(name):
                continue
            early = self.early.setdefault(name, [])
            if not early or (step <= EARLY and name != WEIGHT):
                early.append(abs(value))
            if abs(value) > EXPLODED * max(first := median(early), 1):
                raise Diverged(step, f"a {name} of {value:.3g} has exploded: it was {first:.3g} at first")

    def state_dict(self) -> dict[str, Any]:
        return {"early": self.early}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.early = state["early"]


def is_loss(name: str) -> bool:
    """Whether a scalar is a term of a player's loss, rather than a scalar of a trick or a gradient norm."""
    *_, player, term = ["", *name.split("/")]
    return player in get_args(Player) and term != "gradient_norm"


@torch.no_grad()
def largest_weight(module: nn.Module) -> Tensor:
    """The largest absolute value of all weights, [] on their device; NaN if one is."""
    return nn.utils.get_total_norm(module.parameters(), torch.inf)
