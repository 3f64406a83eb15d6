"""The file summary.json of a run: its status, its speed, its metrics and its provenance."""

import sys
from typing import Any

import pytorch_lightning as pl
import torch

from ganlab.config.prepare import PreparedRun
from ganlab.core.errors import final_status
from ganlab.training.module import GameModule
from ganlab.training.provenance import git_commit, versions
from ganlab.training.trainer import RunCallbacks


class Summary:
    """Writes summary.json, in the main process only.

    Attributes:
        data_sha256: the fingerprint of the data; None in a process that does not write.
        hardware: what may change the last bits of a result.
        hardware_history: that of each earlier part of the run that was played on different hardware.
    """

    def __init__(
        self,
        run: PreparedRun,
        module: GameModule,
        callbacks: RunCallbacks,
        trainer: pl.Trainer,
        command: str,
    ):
        self.run, self.module, self.callbacks, self.command = run, module, callbacks, command
        self.is_main = trainer.is_global_zero
        self.data_sha256 = run.data.fingerprint() if self.is_main else None
        self.hardware = hardware(trainer)
        self.hardware_history: list[dict[str, Any]] = []

    def write(self, status: str, reason: str | None) -> None:
        """Writes the status of the run and everything else that is known now."""
        if not self.is_main:
            return
        step, metrics, bar = (
            self.module.game.run_step,
            self.callbacks.evaluate.latest_records,
            self.callbacks.bar,
        )
        self.run.directory.write_summary(
            status=status,
            reason=reason,
            steps=step,
            images=self.run.timetable.images_seen(step),
            seconds=round(bar.seconds, 3),
            images_per_second=round(bar.images_per_second, 1),
            skipped=len(self.run.data.skipped),
            training_samples=len(self.run.data),
            seed=self.run.settings.seed,
            data_sha256=self.data_sha256,
            **self.hardware,
            commit=git_commit(),
            versions=versions(),
            command=self.command,
            before=self.hardware_history,
            **({"metrics": metrics} if metrics else {}),
        )

    def write_failure(self, error: BaseException, silent: bool = False) -> None:
        """Writes the summary of a run that an error ended; if that fails, reports it unless `silent`."""
        try:
            self.write(*final_status(error))  # a status and a reason
        except OSError as writing_error:  # a full disk must not hide why the run ended
            if not silent:
                print(f"summary.json could not be written: {writing_error.strerror}", file=sys.stderr)


def hardware(trainer: pl.Trainer) -> dict[str, Any]:
    """The device, the number of threads and the number of processes of a run."""
    device = trainer.strategy.root_device
    module = torch.get_device_module(device)
    return {
        "device": "cpu" if device.type == "cpu" else str(module.get_device_name(device)),
        "threads": torch.get_num_threads(),
        "processes": trainer.world_size,
    }
