"""A run of one process: its parts, built from a config, and what happens to them from start to end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, open_dict
from pytorch_lightning.loggers import Logger

from ganlab.config.build import as_config_errors, build_data, build_evaluation, instantiate, num_processes
from ganlab.config.checks import check_config, refuse_unused_settings
from ganlab.config.overrides import shell_override
from ganlab.config.run_directory import RunDirectory, new_run_path
from ganlab.config.stages import Timetable
from ganlab.core.errors import ConfigError, Diverged, RankLost, ending, one_line, printable, require
from ganlab.training.build import build, init_from, load_weights
from ganlab.training.callbacks.checkpoint import AtomicIO, Checkpoint
from ganlab.training.callbacks.evaluate import Evaluate
from ganlab.training.callbacks.final_images import FinalImages
from ganlab.training.callbacks.log_scalars import LogScalars
from ganlab.training.callbacks.profile import CallbackRanges, Profile
from ganlab.training.callbacks.progress import ProgressBar, ResumeClock, progress_bar
from ganlab.training.callbacks.samples import Samples
from ganlab.training.callbacks.stop import Stop
from ganlab.training.callbacks.wandb_mode import check_mode
from ganlab.training.console import print_header, print_summary
from ganlab.training.process import keep_memory, quiet
from ganlab.training.processes import LocalRanks, is_lost_connection, slurm_plugins
from ganlab.training.provenance import command, commit, hardware, versions
from ganlab.training.resume import refuse_other_data


class Session:
    """A run that is ready to be played. Everything is built before anything is written.

    Args:
        cfg: of a new run; or of one to resume, from `ganlab.training.resume.resumed_config`.
        overrides: those of the command line.
        directory: of a run to resume, from which its config was read; None: as cfg says.
    """

    def __init__(self, cfg: DictConfig, overrides: Sequence[str] = (), directory: RunDirectory | None = None):
        quiet()
        keep_memory()
        refuse_unused_settings(cfg, overrides)
        with as_config_errors():
            check_config(cfg)
        check_mode(cfg)
        self.cfg = cfg
        self.command = command(overrides)
        self.data = build_data(cfg)
        self.times = Timetable(cfg)
        self.times.check_batches(self.data, num_processes(cfg))
        self.module = build(cfg, self.data)
        self.evaluation = build_evaluation(cfg, self.data, progress_bar)
        self.evaluation.check_game(self.module.game)
        self.directory = directory or RunDirectory(cfg.resume or new_run_path(cfg))
        self.checkpoint: Path | None = None
        self.began = 0  # the step that this process starts from
        self.before: list[dict[str, Any]] = []  # earlier parts of the run that differ in hardware
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

    def play(self) -> dict[str, float]:
        """Trains and evaluates. However the run ends, summary.json says so."""
        outcome = "failed"
        try:
            self.trainer.loggers = self._build_loggers()
            if self.is_main:
                print_header(self)
            self._fit()
            stopped = self.stop.signal
            status = "stopped" if stopped else "finished"
            metrics = {} if stopped else self._final_metrics()
            self._write_summary(status, stopped)
            outcome = "success"
        except BaseException as error:
            shown = self._user_facing(error)
            outcome = "failed" if isinstance(shown, Exception) else "stopped"
            self._write_failure(shown, silent=isinstance(error, OSError))
            if shown is error:
                raise
            raise shown from error
        finally:
            self._close(outcome)
        if self.is_main:
            print_summary(self, status, metrics)
        if stopped and self.cfg.job is not None:
            raise SystemExit(f"{stopped} ended the sweep")
        return metrics

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.trainer.is_global_zero

    def _build_callbacks(self) -> None:
        cfg, data, directory, times = self.cfg, self.data, self.directory, self.times
        self.scalars = LogScalars(directory, cfg.log_every, times)
        self.evaluate = Evaluate(self.evaluation, cfg.evaluate_every, times)
        self.bar = ProgressBar(self.scalars, times)
        self.stop = Stop(times.total)
        monitored = self.evaluation.monitored(cfg.monitor)
        self.callbacks = [
            self.bar,  # first, so that its clock stops before the others work
            self.evaluate,
            Samples(directory.samples, data, cfg.sample_every, times),
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

    def _build_loggers(self) -> list[Logger]:
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
        self._write_summary("running", None)
        self.local_ranks.start(cfg, lambda lost: self._write_failure(RankLost(lost)))

    def _init_from(self) -> None:
        if self.cfg.init_from:
            init_from(self.module, RunDirectory(self.cfg.init_from).checkpoint()[1])

    def _resume(self) -> None:
        """Restores a checkpoint; none if the run was killed before its first."""
        saved = self.directory.summary()
        self.before = before if isinstance(before := saved.get("before"), list) else []
        refuse_other_data(self.cfg, saved, self.data, self.data_sha256)
        if not self.directory.has_checkpoint:
            self._init_from()
            return
        self.checkpoint, content = self.directory.checkpoint()
        load_weights(self.module, content)
        self.began = self.module.game.step
        reason = f"{self.cfg.resume} has already played {self.module.game.steps_played} steps"
        require(self.began <= self.times.total, "steps", self.cfg.steps, reason, "raise it")
        changed = {name: saved[name] for name, now in self.hardware.items() if saved.get(name, now) != now}
        if changed and self.is_main:
            self.before = [*self.before, {"steps": self.began, **changed}]
            now = ", ".join(f"{name} {self.hardware[name]} ({then} before)" for name, then in changed.items())
            print(f"resuming with {printable(now)}: the last bits may differ from an uninterrupted run's")

    def _fit(self) -> None:
        module, trainer = self.module, self.trainer
        where = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
        stream = self.data.stream(self.cfg.seed, lambda: module.game.step, *where, self.times.budgets)
        trainer.fit(module, stream, ckpt_path=self.checkpoint, weights_only=True)

    def _final_metrics(self) -> dict[str, float]:
        """The metrics after the last step; measured now if an earlier process played that step."""
        if self.module.recorder.metrics:
            return self.module.recorder.metrics
        metrics = self.evaluation(self.module.to(self.trainer.strategy.root_device).game)
        self.evaluate.record = self.evaluation.record(metrics, self.module.game)
        return metrics

    def _user_facing(self, error: BaseException) -> BaseException:
        """The error that the user sees."""
        resume = shell_override("resume", self.directory.path)
        if isinstance(error, SystemExit):
            return KeyboardInterrupt()  # Lightning exits upon a Ctrl-C before the first step
        if isinstance(error, ConfigError | Diverged | RankLost):
            return error  # every process raises the same, and the others may have ended already
        if lost := self.local_ranks.lost():
            return RankLost(lost)
        if self.trainer.world_size > 1 and is_lost_connection(error):
            self.stop.ignore_sigterm()
            return RankLost(f"another process is gone, so all end; {resume} continues")
        if isinstance(error, OSError) and (self.module.game.step or self.cfg.resume):
            return self.directory.io_error(error, begun=True)
        if self.module.game.step > self.began or not isinstance(error, Exception):
            return error
        return ConfigError(f"the first step failed: {one_line(error)} (HYDRA_FULL_ERROR=1 shows where)")

    def _close(self, outcome: str) -> None:
        self.local_ranks.over.set()  # from here on no process is missed, however long a logger takes
        for logger in self.trainer.loggers:
            try:
                logger.finalize(outcome)
            except Exception as error:  # which must not keep the run from its end
                if outcome == "failed" and isinstance(error, OSError):
                    continue  # most likely the error that ended the run, which is shown
                print(f"{type(logger).__name__} could not end: {one_line(error)}", file=sys.stderr)
        self.local_ranks.end()
        if outcome == "failed" and not self.module.game.step and not self.cfg.resume:
            self.directory.discard()
        self.directory.release()

    def _write_failure(self, error: BaseException, silent: bool = False) -> None:
        """Writes the summary of a run that an error ended; `silent`: without a word if that fails, too."""
        try:
            self._write_summary(*ending(error))
        except OSError as other:  # a full disk must not hide why the run ended
            if not silent:
                print(f"summary.json could not be written: {other.strerror}", file=sys.stderr)

    def _write_summary(self, status: str, reason: str | None) -> None:
        if not self.is_main:
            return
        step = self.module.game.step
        entries: dict[str, Any] = {
            "status": status,
            "reason": reason,
            "steps": step,
            "images": self.times.images_seen(step),
            "seconds": round(self.bar.seconds, 3),
            "images_per_second": round(self.bar.images_per_second, 1),
            "skipped": len(self.data.skipped),
            "training_samples": len(self.data),
            "seed": self.cfg.seed,
            "data_sha256": self.data_sha256,
            **self.hardware,
            "commit": commit(),
            "versions": versions(),
            "command": self.command,
            "before": self.before,
        }
        if self.evaluate.record:
            entries["metrics"] = self.evaluate.record
        self.directory.write_summary(**entries)
