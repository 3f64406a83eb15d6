"""One run, from its config to its summary."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.loggers import Logger

from ganlab.config.build import as_config_errors, build_data, build_evaluation, instantiate, num_processes
from ganlab.config.checks import check_config, refuse_unused_settings
from ganlab.config.overrides import shell_override
from ganlab.config.run_directory import RunDirectory, new_run_path
from ganlab.config.stages import Timetable
from ganlab.core.errors import ConfigError, Diverged, RankLost, ending, one_line, printable
from ganlab.training.build import adopt, build, restore
from ganlab.training.callbacks.checkpoint import AtomicIO, Checkpoint
from ganlab.training.callbacks.evaluate import Evaluate
from ganlab.training.callbacks.final_images import LastViews
from ganlab.training.callbacks.log import Log
from ganlab.training.callbacks.profile import CallbackRanges, Profile
from ganlab.training.callbacks.progress import Bar, ResumeClock, watch
from ganlab.training.callbacks.samples import Samples
from ganlab.training.callbacks.stop import Stop
from ganlab.training.callbacks.wandb_mode import check_mode
from ganlab.training.console import conclude, introduce
from ganlab.training.process import keep_memory, quiet
from ganlab.training.processes import LocalRanks, between_processes, environment, launches_ranks
from ganlab.training.provenance import command, commit, device_name, versions
from ganlab.training.resume import refuse_other_data


class Session:
    """A run that is ready to play: everything was built, and only then is anything written.

    Args:
        cfg: of a new run; or of one that goes on, as `ganlab.training.resume.resumed` gives it.
        overrides: of the command line.
        directory: of a run that goes on, from which its config was read; None: as cfg says.
    """

    def __init__(self, cfg: DictConfig, overrides: Sequence[str] = (), directory: RunDirectory | None = None):
        quiet()
        keep_memory()
        refuse_unused_settings(cfg, overrides)
        self.checkpoint: Path | None = None
        self.began = 0  # the round that this process starts from
        self.before: list[dict[str, Any]] = []  # where earlier parts of the run were played otherwise
        with as_config_errors():
            check_config(cfg)
        check_mode(cfg)
        self.cfg = cfg
        self.command = command(overrides)
        self.data = build_data(cfg)
        self.times = Timetable(cfg)
        self.times.check_batches(self.data, num_processes(cfg))
        self.module = build(cfg, self.data)
        self.evaluation = build_evaluation(cfg, self.data, watch)
        self.evaluation.check_game(self.module.game)
        self.directory = directory or RunDirectory(cfg.resume or new_run_path(cfg))
        with as_config_errors():
            self._callbacks()
        nodes = cfg.trainer.get("num_nodes", 1)
        self.workers = LocalRanks(cfg.trainer.devices) if launches_ranks(cfg.trainer.devices, nodes) else None
        try:
            self.trainer = self._trainer()
            self._start()
        except BaseException as error:
            if self.workers is not None:
                self.workers.end()  # or the next job of a sweep would wait for them
            self.directory.discard()
            self.directory.release()
            if isinstance(error, OSError):
                raise self.directory.io_error(error, bool(cfg.resume)) from error
            raise

    def play(self) -> dict[str, float]:
        """Trains and evaluates, and leaves the summary whatever happens."""
        outcome = "failed"
        try:
            self.trainer.loggers = self._loggers()
            if self.first:
                introduce(self)
            self._fit()
            status, reason = ("stopped", self.stop.signal) if self.stop.signal else ("finished", None)
            metrics = {} if self.stop.signal else self._measure()
            self._summarise(status, reason)
            outcome = "success"
        except BaseException as error:
            shown = self._explained(error)
            if not isinstance(shown, Exception):
                outcome = "stopped"
            self._leave(shown, told=isinstance(error, OSError))
            if shown is error:
                raise
            raise shown from error
        finally:
            self._close(outcome)
        if self.first:
            conclude(self, status, metrics)
        if self.stop.signal and self.cfg.job is not None:
            raise SystemExit(f"{self.stop.signal} ended the sweep")
        return metrics

    def _trainer(self) -> pl.Trainer:
        make = instantiate(self.cfg.trainer, pl.Trainer)
        with as_config_errors():
            return make(
                callbacks=self.callbacks,
                max_epochs=-1,
                logger=False,
                profiler=CallbackRanges(),
                plugins=[AtomicIO(), *environment()],
                default_root_dir=self.directory.path,  # elsewhere it might take up another run's hpc_ckpt
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
                sync_batchnorm=False,  # the game has its own, for CPUs too
            )

    def _callbacks(self) -> None:
        cfg, data, directory, times = self.cfg, self.data, self.directory, self.times
        self.terms = Log(directory, times.images_seen, cfg.log_every, times.total)
        monitored = self.evaluation.monitored(cfg.monitor)
        self.measuring = Evaluate(self.evaluation, cfg.evaluate_every, times.begins, times.total)
        self.bar = Bar(self.terms, times.images_seen, times.total)
        self.stop = Stop(times.total)
        self.callbacks = [
            self.bar,  # first, so that its clock stops before the others work
            self.measuring,
            Samples(directory.samples, data, cfg.sample_every, times.begins, times.total),
            LastViews(cfg, data, directory, self.module.game, times),
            self.terms,  # before the checkpoint: its rows are on file before it exists
            self.stop,
            Checkpoint(directory.checkpoints, cfg.checkpoint_every, self.terms, *monitored),
        ]
        self.profile = Profile(directory.path, times.images_seen) if cfg.profile else None
        if self.profile is not None:
            self.callbacks.append(self.profile)
        self.callbacks.append(ResumeClock(self.bar))

    def _start(self) -> None:
        """The first writing: the run directory, or what a resume changes in it."""
        cfg = self.cfg
        self.data_sha256 = self.data.fingerprint() if self.first else None
        if self.first:
            (self.directory.lock if cfg.resume else self.directory.create)()
        if cfg.resume:
            self._restore()
            if self.module.game.step > self.times.total:
                raise ConfigError(
                    f"steps={cfg.steps}, but {cfg.resume} has played {self.module.game.steps_played} rounds: "
                    "ask for more"
                )
        else:
            self._adopt()
            self.directory.signed = not cfg.init_from or RunDirectory(cfg.init_from).read_config()[1]
        with open_dict(cfg):
            cfg.run_dir = str(self.directory.path)
            cfg.class_names = self.data.class_names and list(self.data.class_names)
        if self.first:
            self.directory.make_folders()
            self.directory.write_config(cfg)
        self._summarise("running", None)
        if self.workers is not None:
            # Each finds its names of classes itself: thousands of them do not fit into an environment.
            played = OmegaConf.to_yaml(OmegaConf.merge(cfg, {"class_names": None}), resolve=True)
            self.workers.start(played, lambda lost: self._leave(RankLost(lost)))

    def _restore(self) -> None:
        """What a resume goes on from: a checkpoint, or the start if the run was killed before its first."""
        saved = self.directory.summary()
        self.before = before if isinstance(before := saved.get("before"), list) else []
        refuse_other_data(self.cfg, saved, self.data, self.data_sha256)
        if not self.directory.has_checkpoint:
            self._adopt()
            return
        self.checkpoint, content = self.directory.checkpoint()
        restore(self.module, content)
        self.began = self.module.game.step
        here = self.circumstances()
        changed = {name: saved[name] for name, now in here.items() if saved.get(name, now) != now}
        if changed and self.first:
            self.before = [*self.before, {"steps": self.began, **changed}]
            now = printable(
                ", ".join(f"{name} {here[name]} ({then} before)" for name, then in changed.items())
            )
            print(f"going on with {now}: the last bits may differ from those of the run that was left alone")

    def circumstances(self) -> dict[str, Any]:
        """Where the run is played: beside its config, what its last bits depend on."""
        return {
            "device": device_name(self.trainer.strategy.root_device),
            "threads": torch.get_num_threads(),
            "processes": self.trainer.world_size,
        }

    def _adopt(self) -> None:
        if self.cfg.init_from:
            adopt(self.module, RunDirectory(self.cfg.init_from).checkpoint()[1])

    def _loggers(self) -> list[Logger]:
        nodes = self.cfg.logger.values() if self.first else ()
        return [instantiate(node)(directory=self.directory, cfg=self.cfg) for node in nodes]

    def _fit(self) -> None:
        module, trainer = self.module, self.trainer
        where = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
        stream = self.data.stream(self.cfg.seed, lambda: module.game.step, *where, self.times.budgets)
        trainer.fit(module, stream, ckpt_path=self.checkpoint, weights_only=True)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.trainer.is_global_zero

    def _measure(self) -> dict[str, float]:
        """What was measured after the last round; measured now if that round was played before."""
        if self.module.recorder.metrics:
            return self.module.recorder.metrics
        found = self.evaluation(self.module.to(self.trainer.strategy.root_device).game)
        self.measuring.record = self.evaluation.record(found, self.module.game)
        return found

    def _explained(self, error: BaseException) -> BaseException:
        """The error as the user gets to see it."""
        path = self.directory.path
        if isinstance(error, SystemExit):
            return KeyboardInterrupt()  # what Lightning makes of a Ctrl-C before the first round
        if isinstance(error, ConfigError | Diverged | RankLost):
            return error  # all processes say so, and the others may be gone already
        if self.workers is not None and (lost := self.workers.lost()):
            return RankLost(lost)
        if self.trainer.world_size > 1 and between_processes(error):
            self.stop.hold()
            return RankLost(f"another process is gone, so all end; {shell_override('resume', path)} goes on")
        if isinstance(error, OSError) and (self.module.game.step or self.cfg.resume):
            return self.directory.io_error(error, begun=True)
        if self.module.game.step > self.began or not isinstance(error, Exception):
            return error
        return ConfigError(f"the first round failed: {one_line(error)} (HYDRA_FULL_ERROR=1 shows where)")

    def _close(self, outcome: str) -> None:
        if self.workers is not None:
            self.workers.over.set()  # from here on none is missed, however long a logger takes
        for logger in self.trainer.loggers:
            try:
                logger.finalize(outcome)
            except Exception as error:  # it must not keep the run from its end
                if outcome == "failed" and isinstance(error, OSError):
                    continue  # as likely as not what ended the run, which is told
                print(f"{type(logger).__name__} could not end: {one_line(error)}", file=sys.stderr)
        if self.workers is not None:
            self.workers.end()
        if outcome == "failed" and not self.module.game.step and not self.cfg.resume:
            self.directory.discard()
        self.directory.release()

    def _leave(self, error: BaseException, told: bool = False) -> None:
        """The last summary of a run that an error ends; `told`: one that says that nothing can be written."""
        try:
            self._summarise(*ending(error))
        except OSError as other:  # a full disk must not hide why the run ended
            if not told:
                print(f"summary.json could not be written: {other.strerror}", file=sys.stderr)

    def _summarise(self, status: str, reason: str | None) -> None:
        if not self.first:
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
            **self.circumstances(),
            "commit": commit(),
            "versions": versions(),
            "command": self.command,
            "before": self.before,
        }
        if self.measuring.record:
            entries["metrics"] = self.measuring.record
        self.directory.write_summary(**entries)
