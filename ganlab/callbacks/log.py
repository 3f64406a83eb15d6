from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer

from ganlab.callbacks.divergence import WEIGHT, Divergence, largest
from ganlab.callbacks.metrics_file import MetricsFile
from ganlab.ranks import mean_of_ranks
from ganlab.run_directory import RunDirectory
from ganlab.training.base import GameModule


class Log(Callback):
    """Reads the terms of every `every`-th round and of the last, and writes them with what was measured.

    `images` says how many real images were seen in so many rounds.

    Raises:
        Diverged: a term or a weight is not finite, or explodes; the row that shows it is written first.
    """

    def __init__(
        self,
        directory: RunDirectory,
        images: Callable[[int], int],
        every: int,
        steps: int,
        divergence: Divergence,
    ):
        self.directory = directory
        self.file = MetricsFile(directory.metrics)
        self.images = images
        self.every = every
        self.steps = steps
        self.divergence = divergence
        self.last: dict[str, float] = {}
        self.logged = 0  # the round up to which the loggers know everything: a resume plays some again

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            # Kept beside the rows, for a second resume finds only those that this one leaves.
            self.logged = max(self.file.last_step(), self.directory.summary().get("logged", 0))
            self.directory.write_summary(logged=self.logged)
            self.file.cut(module.game.step)

    def due(self, module: GameModule) -> bool:
        """Whether the terms of the round that was just played are read, which waits for the device."""
        step = module.game.step
        return step % self.every == 0 or step == self.steps or bool(module.measured)

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        if not self.due(module):
            return
        found = read({**module.told, WEIGHT: largest(module)})
        self.last = {name: found[name] for name in module.told}
        row = {"step": step, "images": self.images(step), **self.last, **module.measured}
        if trainer.is_global_zero:
            self.file.append(row)
        if step > self.logged:
            for logger in trainer.loggers:
                logger.log_metrics(row, step)
        self.divergence.check(step, found)


def read(told: dict[str, torch.Tensor]) -> dict[str, float]:
    """All the terms, as means over processes, in one wait for the device."""
    return dict(zip(told, mean_of_ranks(torch.stack(list(told.values()))).tolist(), strict=True))
