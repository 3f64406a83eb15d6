from collections.abc import Callable, Mapping
from math import isfinite
from statistics import median
from typing import Any, get_args

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn

from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import Diverged
from ganlab.core.turn import Player
from ganlab.training.callbacks.metrics_file import MetricsFile
from ganlab.training.module import GameModule

EARLY = 100  # rounds whose losses are those that later ones are held against
TIMES = 1e6
WEIGHT = "weight"  # the largest of all weights, by its absolute value


class Log(Callback):
    """Reads the terms of every `every`-th round and of the last, and writes them with what was measured.

    `images` says how many real images were seen in so many rounds. How large losses were at first, and the
    weights before the first round, is kept over all resumes.

    Raises:
        Diverged: a term or a weight is not finite, or explodes; the row that shows it is written first.
    """

    def __init__(self, directory: RunDirectory, images: Callable[[int], int], every: int, steps: int):
        self.directory = directory
        self.file = MetricsFile(directory.metrics)
        self.images = images
        self.every = every
        self.steps = steps
        self.early: dict[str, list[float]] = {}  # absolute values, by name
        self.last: dict[str, float] = {}
        self.logged = 0  # the round up to which the loggers know everything: a resume plays some again

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        self.early.setdefault(WEIGHT, [float(largest(module))])
        if trainer.is_global_zero:
            # Kept beside the rows, for a second resume finds only those that this one leaves.
            self.logged = max(self.file.last_step(), self.directory.summary().get("logged", 0))
            self.directory.write_summary(logged=self.logged)
            self.file.cut(module.game.step)

    def due(self, module: GameModule) -> bool:
        """Whether the terms of the round that was just played are read, which waits for the device."""
        step = module.game.step
        return step % self.every == 0 or step == self.steps or bool(module.recorder.metrics)

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        if not self.due(module):
            return
        found = module.recorder.read(**{WEIGHT: largest(module)})
        self.last = {name: found[name] for name in module.recorder.scalars}
        row = {"step": step, "images": self.images(step), **self.last, **module.recorder.metrics}
        if trainer.is_global_zero:
            self.file.append(row)
        if step > self.logged:
            for logger in trainer.loggers:
                logger.log_metrics(row, step)
        self.check(step, found)

    def check(self, step: int, found: Mapping[str, float]) -> None:
        """Numbers of a round, by name. What is below 1 at first counts as 1: a loss may begin at nought.

        Raises:
            Diverged: one is NaN or infinite, or a loss or weight is a million times what it was at first.
        """
        for name, value in found.items():
            if not isfinite(value):
                raise Diverged(step, "a weight is not finite" if name == WEIGHT else f"{name} is {value}")
            if name != WEIGHT and not is_loss(name):
                continue
            early = self.early.setdefault(name, [])
            if not early or (step <= EARLY and name != WEIGHT):
                early.append(abs(value))
            if abs(value) > TIMES * max(first := median(early), 1):
                what = f"a {name} of {value:.3g} is as good as not finite: it was {first:.3g} at first"
                raise Diverged(step, what)

    def state_dict(self) -> dict[str, Any]:
        return {"early": self.early}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.early = state["early"]


def is_loss(name: str) -> bool:
    """Whether a logged number is a term of a player's loss; others are a trick's, or bounded by clipping."""
    *_, player, term = ["", *name.split("/")]
    return player in get_args(Player) and term != "gradient_norm"


@torch.no_grad()
def largest(module: nn.Module) -> Tensor:
    """The largest absolute value of all weights, [] on their device; NaN where one is."""
    return nn.utils.get_total_norm(module.parameters(), torch.inf)
