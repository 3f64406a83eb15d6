"""A run, built from its config and ready for its first step."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, open_dict

from ganlab.config.build import as_config_errors, build_data, build_evaluations, instantiate
from ganlab.config.checks import check_config, refuse_unused_borrows
from ganlab.config.load import LoadedRun, build_run, load_borrowed, load_players, load_weights
from ganlab.config.phases import phase_settings
from ganlab.config.run_directory import RunDirectory, new_run_path
from ganlab.config.stages import Timetable, complete_stages
from ganlab.core.errors import ProcessLost, escape_unprintable, final_status, require
from ganlab.data.base import Data
from ganlab.metrics.evaluation import monitored_value
from ganlab.training.build import build_module
from ganlab.training.callbacks.pictures import FinalViews, SamplePictures
from ganlab.training.callbacks.profile import CallbackProfiler, Profile
from ganlab.training.callbacks.progress import ProgressBar, progress_bar
from ganlab.training.callbacks.record import AtomicIO, Checkpoint, Evaluate, LogScalars
from ganlab.training.callbacks.stop import Stop
from ganlab.training.callbacks.weights_and_biases import check_wandb_mode
from ganlab.training.play import Play
from ganlab.training.process_settings import keep_memory, silence_lightning
from ganlab.training.processes import LocalProcesses, cluster_environment
from ganlab.training.provenance import command_line, git_commit, versions


class Session:
    """A run that is ready to be played. Everything is built before anything is written.

    Args:
        cfg: the config of a new run; to resume a run, the result of `ganlab.training.resume.resumed_config`.
            The directory of the run and the classes of the data are written into it.
        overrides: the overrides of the command line.
        directory: the directory of the run to resume, if its config was read already; None: the directory
            is the one that the config names.
    """

    def __init__(self, cfg: DictConfig, overrides: Sequence[str] = (), directory: RunDirectory | None = None):
        silence_lightning()
        keep_memory()  # makes malloc keep freed memory, which speeds up steps on the CPU
        with as_config_errors():
            check_config(cfg, overrides)
            complete_stages(cfg)
        check_wandb_mode(cfg)
        self.cfg = cfg
        self.command = command_line(overrides)
        self.data = build_data(cfg)
        self.timetable = Timetable(cfg)
        self.timetable.check_batches(self.data)
        borrowed = load_borrowed(cfg)  # not kept, because it holds checkpoints
        self.module = build_module(phase_settings(cfg, build_run(cfg, self.data, borrowed), Play))
        refuse_unused_borrows(cfg)  # after what is wrong with the borrowed runs themselves
        self.evaluations = build_evaluations(cfg, self.data, self.module.parts, progress_bar)
        self.directory = directory or RunDirectory(cfg.resume or new_run_path(cfg))
        self.checkpoint: Path | None = None
        self.start_step = 0  # the number of steps that earlier processes have played
        # The hardware of each earlier part of the run that was played on different hardware.
        self.hardware_history: list[dict[str, Any]] = []
        with as_config_errors():
            callbacks = self._build_callbacks()
        self.local_processes = LocalProcesses(cfg.trainer.devices, cfg.trainer.get("num_nodes", 1))
        try:
            self._build_trainer(callbacks)
            self._begin(borrowed)
        except BaseException as error:
            self.local_processes.end()  # otherwise the next job of a sweep would wait for them
            self.directory.discard()
            self.directory.release()
            if isinstance(error, OSError):
                raise self.directory.io_error(error, has_trained=bool(cfg.resume)) from error
            raise

    def _build_callbacks(self) -> list[pl.Callback]:
        cfg, data, directory, timetable = self.cfg, self.data, self.directory, self.timetable
        scalars = LogScalars(directory, cfg.log_every, timetable)
        self.evaluate_callback = Evaluate(self.evaluations, cfg.evaluate_every, timetable)
        self.bar = ProgressBar(scalars, timetable)
        self.stop = Stop(timetable.total)
        monitor, higher_is_better = monitored_value(self.evaluations, cfg.monitor)
        return [
            self.bar,  # first, so that its clock excludes the other callbacks
            self.evaluate_callback,
            SamplePictures(directory.samples, data, cfg.sample_every, timetable),
            FinalViews(cfg, data, directory, self.module.parts, timetable),
            scalars,  # before Checkpoint, so that the rows are on file when a checkpoint is written
            self.stop,
            Checkpoint(directory.checkpoints, cfg.checkpoint_every, scalars, monitor, higher_is_better),
            *([Profile(directory.path, timetable)] if cfg.profile else []),
        ]

    def _build_trainer(self, callbacks: list[pl.Callback]) -> None:
        make_trainer, cluster = instantiate(self.cfg.trainer, pl.Trainer), cluster_environment()
        with as_config_errors():
            self.trainer: pl.Trainer = make_trainer(
                callbacks=callbacks,
                max_epochs=-1,
                logger=False,
                profiler=CallbackProfiler(),
                plugins=[AtomicIO(), cluster] if cluster else [AtomicIO()],
                default_root_dir=self.directory.path,  # elsewhere Lightning may find an hpc_ckpt and load it
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                sync_batchnorm=False,  # `build_game` replaces the batch norms itself, for CPUs too
            )
        self.is_main = self.trainer.is_global_zero  # the process that writes
        device = self.trainer.strategy.root_device
        module = torch.get_device_module(device)
        self.hardware = {  # what may change the last bits of a result
            "device": "cpu" if device.type == "cpu" else str(module.get_device_name(device)),
            "threads": torch.get_num_threads(),
            "processes": self.trainer.world_size,
        }

    def _begin(self, borrowed: Mapping[str, LoadedRun]) -> None:
        """Creates the run directory, or restores the run in it; then starts the other processes."""
        cfg = self.cfg
        self.data_sha256 = self.data.fingerprint() if self.is_main else None
        lock_or_create = self.directory.lock if cfg.resume else self.directory.create
        if self.is_main:
            lock_or_create()
        if cfg.resume:
            self._resume()
        else:
            # With the weights of somebody else's run, this run counts as somebody else's, too. Its config is
            # then not signed, so it may only name classes of ganlab and optimisers of torch.
            self.directory.made_by_user = all(run.directory.made_by_user for run in borrowed.values())
            if cfg.init_from:
                self.directory.made_by_user &= RunDirectory(cfg.init_from).read_config()[1]
        # A run that was started with `init_from` still has this setting when it is resumed. It then needs the
        # weights again only if it was killed before its first checkpoint.
        if cfg.init_from and self.checkpoint is None:
            _, content = RunDirectory(cfg.init_from).checkpoint()
            load_players(self.module, content)
        with open_dict(cfg):
            cfg.run_dir = str(self.directory.path)
            cfg.class_names = self.data.class_names and list(self.data.class_names)
        if self.is_main:
            self.directory.make_folders()
            for name, run in borrowed.items() if not cfg.resume else ():
                run.write_copy(self.directory.borrowed / name)
                cfg.borrows[name] = str(self.directory.borrowed / name)
            self.directory.write_config(cfg)  # says that the run has begun
        self.write_summary("running", reason=None)
        self.local_processes.start(cfg, lambda lost: self.write_failure(ProcessLost(lost)))

    def _resume(self) -> None:
        """Restores the last checkpoint. A run that was killed early has none, and starts again."""
        saved = self.directory.summary()
        history = saved.get("before")  # the key of the hardware history in summary.json
        self.hardware_history = history if isinstance(history, list) else []
        refuse_other_data(self.cfg, saved, self.data, self.data_sha256)
        if not self.directory.has_checkpoint:
            return
        self.checkpoint, content = self.directory.checkpoint()
        load_weights(self.module, content)
        # The setting `steps` counts the steps of the main game only.
        self.start_step, main_steps = self.module.game.run_step, self.module.phases[-1].step
        reason = f"{self.cfg.resume} has already played {main_steps} steps"
        require(main_steps <= self.cfg.steps, reason, "raise it", "steps", self.cfg.steps)
        changed = {name: saved[name] for name, now in self.hardware.items() if saved.get(name, now) != now}
        if changed and self.is_main:
            self.hardware_history = [*self.hardware_history, {"steps": self.start_step, **changed}]
            changes = (f"{name} {self.hardware[name]} ({then} before)" for name, then in changed.items())
            text = escape_unprintable(", ".join(changes))
            print(f"resuming with {text}: the last bits may differ from an uninterrupted run's")

    def write_summary(self, status: str, reason: str | None) -> None:
        """Writes the status of the run, its speed, its metrics and its provenance to summary.json."""
        step, metrics = self.module.game.run_step, self.evaluate_callback.latest_records
        if self.is_main:
            self.directory.write_summary(
                status=status,
                reason=reason,
                steps=step,
                images=self.timetable.images_seen(step),
                seconds=round(self.bar.seconds, 3),
                images_per_second=round(self.bar.images_per_second, 1),
                skipped=len(self.data.skipped),
                training_samples=len(self.data),
                seed=self.cfg.seed,
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
            self.write_summary(*final_status(error))  # a status and a reason
        except OSError as writing_error:  # a full disk must not hide why the run ended
            if not silent:
                print(f"summary.json could not be written: {writing_error.strerror}", file=sys.stderr)


def refuse_other_data(cfg: DictConfig, summary: Mapping[str, Any], data: Data, sha256: str | None) -> None:
    """Refuses data that differ from those of a run's summary; compares fingerprints if `sha256` is given."""
    samples, old_hash = summary.get("training_samples"), summary.get("data_sha256")
    classes, new_classes = cfg.get("class_names"), list(data.class_names or ())
    remedy = "restore the data, or start a new run with init_from"
    for old, new, reason in (
        (samples, len(data), f"was trained on {samples} samples, but there are {len(data)} now"),
        (classes, new_classes, f"was trained on the classes {classes}, but they are {new_classes} now"),
        (old_hash, sha256, f"was trained on data of SHA-256 {old_hash!s:.12}, but it is {sha256!s:.12} now"),
    ):
        require(old in (None, new) or new is None, reason, remedy, "resume", cfg.resume)
