"""A run, built from its config and ready for its first step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, open_dict
from pytorch_lightning.loggers import Logger

from ganlab.config.build import as_config_errors, build_data, build_evaluation, instantiate, num_processes
from ganlab.config.checks import check_config, refuse_unused_settings
from ganlab.config.run_directory import RunDirectory, new_run_path
from ganlab.config.stages import Timetable
from ganlab.core.errors import ProcessLost, printable, require
from ganlab.training.build import build, init_from, load_weights
from ganlab.training.callbacks.checkpoint import AtomicIO, Checkpoint
from ganlab.training.callbacks.evaluate import Evaluate
from ganlab.training.callbacks.final_images import FinalImages
from ganlab.training.callbacks.log_scalars import LogScalars
from ganlab.training.callbacks.profile import CallbackRanges, Profile
from ganlab.training.callbacks.progress import ProgressBar, ResumeClock, progress_bar
from ganlab.training.callbacks.samples import SampleImages
from ganlab.training.callbacks.stop import Stop
from ganlab.training.callbacks.wandb_mode import check_wandb_mode
from ganlab.training.process import keep_memory, silence_lightning
from ganlab.training.processes import LocalRanks, slurm_plugins
from ganlab.training.provenance import hardware, run_command
from ganlab.training.resume import refuse_other_data
from ganlab.training.summary import write_failure, write_summary


class Session:
    """A run that is ready to be played. Everything is built before anything is written.

    Args:
        cfg: the config of a new run; to resume one, that of `ganlab.training.resume.resumed_config`.
        overrides: those of the command line.
        directory: that of the run to resume, from which its config was read; None: by cfg.run_dir.
    """

    def __init__(self, cfg: DictConfig, overrides: Sequence[str] = (), directory: RunDirectory | None = None):
        silence_lightning()
        keep_memory()
        refuse_unused_settings(cfg, overrides)
        with as_config_errors():
            check_config(cfg)
        check_wandb_mode(cfg)
        self.cfg = cfg
        self.command = run_command(overrides)
        self.data = build_data(cfg)
        self.times = Timetable(cfg)
        self.times.check_batches(self.data, num_processes(cfg))
        self.module = build(cfg, self.data)
        self.evaluation = build_evaluation(cfg, self.data, progress_bar)
        self.evaluation.check_game(self.module.game)
        self.directory = directory or RunDirectory(cfg.resume or new_run_path(cfg))
        self.checkpoint: Path | None = None
        self.start_step = 0  # the step that this process starts from
        self.hardware_history: list[dict[str, Any]] = []  # earlier parts of the run that differ in hardware
        with as_config_errors():
            self._build_callbacks()
        self.local_ranks = LocalRanks(cfg.trainer.devices, cfg.trainer.get("num_nodes", 1))
        try:
            self._build_trainer()
            self._begin()
        except BaseException as error:
            self.local_ranks.end()  # otherwise the next job of a sweep would wait for them
            self.directory.discard()
            self.directory.release()
            if isinstance(error, OSError):
                raise self.directory.io_error(error, bool(cfg.resume)) from error
            raise

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.trainer.is_global_zero

    def _build_callbacks(self) -> None:
        cfg, data, directory, times = self.cfg, self.data, self.directory, self.times
        self.scalars = LogScalars(directory, cfg.log_every, times)
        self.evaluate_callback = Evaluate(self.evaluation, cfg.evaluate_every, times)
        self.bar = ProgressBar(self.scalars, times)
        self.stop = Stop(times.total)
        monitored = self.evaluation.monitored(cfg.monitor)
        self.callbacks = [
            self.bar,  # first, so that its clock stops before the others work
            self.evaluate_callback,
            SampleImages(directory.samples, data, cfg.sample_every, times),
            FinalImages(cfg, data, directory, self.module.game, times),
            self.scalars,  # before the checkpoint, so that its rows are on file when it is written
            self.stop,
            Checkpoint(directory.checkpoints, cfg.checkpoint_every, self.scalars, *monitored),
            *([Profile(directory.path, times)] if cfg.profile else []),
            ResumeClock(self.bar),
        ]

    def _build_trainer(self) -> None:
        make = instantiate(self.cfg.trainer, pl.Trainer)
        with as_config_errors():
            self.trainer: pl.Trainer = make(
                callbacks=self.callbacks,
                max_epochs=-1,
                logger=False,
                profiler=CallbackRanges(),
                plugins=[AtomicIO(), *slurm_plugins()],
                default_root_dir=self.directory.path,  # elsewhere it might find the hpc_ckpt of another run
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
                sync_batchnorm=False,  # the game has its own, for CPUs too
            )
        device = self.trainer.strategy.root_device
        self.hardware = hardware(device, self.trainer.world_size)

    def build_loggers(self) -> list[Logger]:
        nodes = self.cfg.logger.values() if self.is_main else ()
        return [instantiate(node)(directory=self.directory, cfg=self.cfg) for node in nodes]

    def _begin(self) -> None:
        """Writes for the first time: the run directory, or what a resume changes in it."""
        cfg = self.cfg
        self.data_sha256 = self.data.fingerprint() if self.is_main else None
        if self.is_main:
            (self.directory.lock if cfg.resume else self.directory.create)()
        if cfg.resume:
            self._resume()
        else:
            self._init_from()
            self.directory.signed = not cfg.init_from or RunDirectory(cfg.init_from).read_config()[1]
        with open_dict(cfg):
            cfg.run_dir = str(self.directory.path)
            cfg.class_names = self.data.class_names and list(self.data.class_names)
        if self.is_main:
            self.directory.make_folders()
            self.directory.write_config(cfg)
        write_summary(self, "running", None)
        self.local_ranks.start(cfg, lambda lost: write_failure(self, ProcessLost(lost)))

    def _init_from(self) -> None:
        if self.cfg.init_from:
            init_from(self.module, RunDirectory(self.cfg.init_from).checkpoint()[1])

    def _resume(self) -> None:
        """Restores a checkpoint; none if the run was killed before its first."""
        saved = self.directory.summary()
        self.hardware_history = before if isinstance(before := saved.get("before"), list) else []
        refuse_other_data(self.cfg, saved, self.data, self.data_sha256)
        if not self.directory.has_checkpoint:
            self._init_from()
            return
        self.checkpoint, content = self.directory.checkpoint()
        load_weights(self.module, content)
        self.start_step = self.module.game.step
        reason = f"{self.cfg.resume} has already played {self.module.game.steps_played} steps"
        require(self.start_step <= self.times.total, "steps", self.cfg.steps, reason, "raise it")
        changed = {name: saved[name] for name, now in self.hardware.items() if saved.get(name, now) != now}
        if changed and self.is_main:
            self.hardware_history = [*self.hardware_history, {"steps": self.start_step, **changed}]
            now = ", ".join(f"{name} {self.hardware[name]} ({then} before)" for name, then in changed.items())
            print(f"resuming with {printable(now)}: the last bits may differ from an uninterrupted run's")
