"""The Lightning module of a run: each training step plays one step of the current stage."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.precision.utils import _DtypeContextManager
from torch import nn
from torch.optim import Optimizer

from ganlab.core.errors import require
from ganlab.core.profiling import profile_range
from ganlab.data.sources import LabelledBatch, Samples
from ganlab.training.stage import Recorder, Stage


class GameModule(pl.LightningModule):
    """Plays the stages of a run one after the other.

    `game` is that of the last stage: it is evaluated and sampled, and its `step` counts the steps of the
    whole run (Lightning's `global_step` counts the steps of optimisers). Step k is a function of (seed, k)
    and of the state before it, because each step starts by seeding every random generator. A run that was
    killed and resumed therefore equals the uninterrupted run bit for bit.

    Args:
        stages: in their order; a run without stages has a single one.
    """

    def __init__(self, stages: Sequence[Stage]):
        super().__init__()
        self.automatic_optimization = False
        self.stages = stages
        *earlier, last = stages
        self.game = last.game
        # In a checkpoint, the names of an earlier game's weights begin with before.<stage>.game.
        self.before = nn.ModuleDict({stage.name: nn.ModuleDict({"game": stage.game}) for stage in earlier})
        self.recorder = Recorder()
        begins = 0
        for stage in stages:
            stage.game.first_step, stage.recorder = begins, self.recorder
            begins += stage.steps

    @property
    def stage(self) -> Stage:
        """The stage of the next step."""
        *earlier, last = self.stages
        unfinished = (stage for stage in earlier if self.game.step < stage.game.first_step + stage.steps)
        return next(unfinished, last)

    def setup(self, stage: str) -> None:
        reason = "counts steps of Lightning's automatic optimisation, and a game takes none"
        remedy = "set max_epochs=1 and limit_train_batches=<steps>"
        require(self.trainer.max_steps < 0, "max_steps", self.trainer.max_steps, reason, remedy)
        for part in self.stages:
            part.rank, part.world_size = self.trainer.global_rank, self.trainer.world_size

    def configure_optimizers(self) -> list[Optimizer]:
        return [player.optimizer for stage in self.stages for player in stage.player_optimizers.values()]

    def training_step(self, dataloader_iter: Iterator[Any]) -> None:
        # The argument's name makes Lightning pass the iterator. If Lightning fetched the batches, it would
        # search each of them for tensors and inspect this signature in every step.
        try:
            # The data must not depend on the precision of the run.
            no_autocast = torch.autocast(self.device.type, enabled=False)
            with profile_range("data"), _DtypeContextManager(torch.float32), no_autocast:
                batch, _, _ = next(dataloader_iter)
            self.play_step(self.trainer.precision_plugin.convert_input(batch))
        except StopIteration as end:  # which Lightning would take for the end of an epoch
            raise RuntimeError("the data ended, or a trick let a StopIteration through") from end

    def play_step(self, batch: Samples | LabelledBatch) -> None:
        """Plays one step on a batch: samples [B, ...], alone or with classes [B], or two such pairs."""
        stage = self.stage
        stage.game.step = self.game.step
        if stage.game.steps_played == 0:
            stage.prepare()
        self.recorder.scalars = {}
        stage.play_step(batch)
        self.game.step = stage.game.step
