"""Checkpoints, each written to another file and renamed, so that a kill at any moment leaves a whole one."""

import io
import os
from math import inf
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ganlab.filesystem import atomic_writer
from ganlab.training.callbacks.log_scalars import WEIGHT, LogScalars, largest_weight
from ganlab.training.module import GameModule

NEXT = "next.ckpt"


class AtomicIO(TorchCheckpointIO):
    """Writes a checkpoint to a file in the same folder, which it then renames.

    Lightning's own goes through the system's temporary folder, and across file systems that is a copy.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()  # torch's own writer hides the system's error when the disk is full
        torch.save(checkpoint, content)
        with atomic_writer(Path(path)) as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())


class Checkpoint(Callback):
    """Writes last.ckpt every `every` steps and at the end, and keeps the one before it as previous.ckpt.

    best.ckpt is written whenever the monitored metric improves.

    Raises:
        Diverged: a weight is not finite, or exploded; the checkpoints on disk stay as they are.
    """

    def __init__(
        self, folder: Path, every: int, scalars: LogScalars, monitor: str | None, higher_is_better: bool
    ):
        self.folder = folder
        self.every = every
        self.scalars = scalars
        self.monitor = monitor
        self.sign = -1 if higher_is_better else 1
        self.best = inf  # of sign * metric: the lowest is the best

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            for torn in (*self.folder.glob("*.part"), self.folder / NEXT):
                torn.unlink(missing_ok=True)

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        value = self.sign * module.recorder.metrics.get(self.monitor or "", self.sign * inf)
        better = value < self.best
        due = module.game.step % self.every == 0 or trainer.should_stop
        if not (better or due):
            return
        self.scalars.check(module.game.step, {WEIGHT: float(largest_weight(module))})
        self.best = min(value, self.best)
        if better:
            trainer.save_checkpoint(self.folder / "best.ckpt")
        if due:
            trainer.save_checkpoint(self.folder / NEXT)
            if trainer.is_global_zero:  # now that the next one is whole: a full disk must not cost the last
                last = self.folder / "last.ckpt"
                if last.exists():
                    os.replace(last, self.folder / "previous.ckpt")
                os.replace(self.folder / NEXT, last)

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.best = state["best"]
