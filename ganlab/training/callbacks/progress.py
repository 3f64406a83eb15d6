"""The progress bar of a run."""

from collections import defaultdict
from time import perf_counter
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ganlab.config.stages import Timetable
from ganlab.training.callbacks.record import LogScalars, player_of_loss
from ganlab.training.module import GameModule

NUM_LINES = 10  # the number of lines that a run without a terminal prints


class ProgressBar(Callback):
    """Shows the step, images per second, losses and time left; without a terminal, in a few plain lines.

    It measures the time of the steps, including the wait for data, but without the time of the other
    callbacks: evaluation, pictures and checkpoints. A resumed run adds to the time of its earlier parts.
    """

    place = "clock"

    state_key = "Bar"  # the name of the callback in checkpoints

    def __init__(self, log_scalars: LogScalars, timetable: Timetable):
        self.log_scalars, self.timetable = log_scalars, timetable
        self.seconds = 0.0
        self.timed_steps = 0  # the number of steps that `seconds` covers
        self._step_start = 0.0
        self._console = Console()
        self._progress = Progress(
            BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn(),
            console=self._console, refresh_per_second=4,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=timetable.total, text="")

    @property
    def images_per_second(self) -> float:
        return self.timetable.images_seen(self.timed_steps) / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero and self._console.is_terminal:
            self._progress.reset(self._task, completed=module.game.run_step)
            self._progress.start()

    def on_train_batch_start(self, *_: Any) -> None:
        self._step_start = perf_counter()

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if self.log_scalars.is_due(module):
            # Otherwise `log_scalars` would wait for the device, and `seconds` would lack this time.
            torch.get_device_module(module.device).synchronize()
        self.seconds += perf_counter() - self._step_start
        self.timed_steps += 1
        step, total = module.game.run_step, self.timetable.total
        if self._progress.live.is_started:
            self._progress.update(self._task, completed=step, text=self._text())
        elif trainer.is_global_zero and (step % max(total // NUM_LINES, 1) == 0 or step == total):
            self._console.print(f"step {step}/{total}  {self._text()}", highlight=False, soft_wrap=True)

    def on_train_end(self, *_: Any) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    on_exception = on_train_end  # type: ignore[assignment]

    def _text(self) -> str:
        losses: dict[str, float] = defaultdict(float)
        for name, value in self.log_scalars.latest.items():
            if player := player_of_loss(name, self.log_scalars.players):
                losses[player] += value
        shown = "  ".join(f"{player[0].upper()} {value:.3f}" for player, value in losses.items())
        return f"{self.images_per_second:,.0f} images/s  {shown}"

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds, "timed_steps": self.timed_steps}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.seconds, self.timed_steps = state["seconds"], int(state["timed_steps"])
