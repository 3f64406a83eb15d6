"""One run, from its config to its summary."""

from __future__ import annotations

import errno
import logging
import shlex
import subprocess
import sys
import warnings
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, open_dict
from pytorch_lightning.loggers import Logger

from ganlab.callbacks.checkpoint import AtomicIO, Checkpoint
from ganlab.callbacks.evaluate import Evaluate
from ganlab.callbacks.log import Log
from ganlab.callbacks.metrics_file import MetricsFile
from ganlab.callbacks.progress import Bar
from ganlab.callbacks.samples import Samples
from ganlab.callbacks.stop import Stop
from ganlab.config import (
    build,
    build_data,
    check,
    check_trust,
    instantiate,
    num_processes,
    refuse_unused,
    restore,
)
from ganlab.errors import Diverged, Refused
from ganlab.metrics.evaluation import Evaluation
from ganlab.resume import resumed
from ganlab.run_directory import RunDirectory
from ganlab.training.processes import Workers, must_start


class Session:
    """A run that is ready to play: everything was built, and only then is anything written."""

    def __init__(self, cfg: DictConfig, overrides: Sequence[str] = ()):
        quiet()
        refuse_unused(cfg, overrides)
        self.checkpoint: Path | None = None
        if cfg.resume:
            if cfg.init_from:
                raise Refused("resume and init_from exclude each other: give one of them")
            cfg = resumed(cfg, overrides)
            check_trust(cfg, cfg.trust)
        check(cfg)
        self.cfg = cfg
        self.data = build_data(cfg)
        self.data.share(num_processes(cfg))
        self.module = build(cfg)
        self.evaluation = Evaluation(instantiate(cfg.metric), self.data, **cfg.evaluation)
        known = [name for metric in self.evaluation.metrics.values() for name in metric.names]
        if cfg.monitor is not None and cfg.monitor not in known:
            raise Refused(
                f"monitor={cfg.monitor} is not measured: choose one of {', '.join(known) or 'none'}"
            )
        self.directory = RunDirectory(cfg.resume or directory_for(cfg))
        self._callbacks()
        self.workers = Workers(cfg.trainer.devices) if must_start(cfg.trainer.devices) else None
        self.trainer: pl.Trainer = instantiate(cfg.trainer)(
            callbacks=self.callbacks,
            max_epochs=-1,
            logger=False,
            plugins=[AtomicIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        self._start()

    def play(self) -> dict[str, float]:
        """Trains and evaluates, and leaves the summary whatever happens."""
        try:
            self.trainer.loggers = self._loggers()
            self._fit()
            status, reason = ("stopped", self.stop.signal) if self.stop.signal else ("finished", None)
            metrics = {} if self.stop.signal else self._measure()
        except BaseException as error:
            self._summarise(*ending(error), {})
            if full(error):
                raise Refused(
                    f"the disk of {self.directory.path} is full, or a quota reached ({error}): make room, then "
                    f"resume={self.directory.path} goes on from the last checkpoint"
                ) from error
            raise
        finally:
            for logger in self.trainer.loggers:
                logger.finalize("success")
            if self.workers is not None:
                self.workers.end()
        self._summarise(status, reason, metrics)
        if self.first:
            self._tell(status, metrics)
        if self.stop.signal and self.cfg.job is not None:
            raise SystemExit(f"{self.stop.signal} ended the sweep")
        return metrics

    def _callbacks(self) -> None:
        cfg, data, directory = self.cfg, self.data, self.directory
        self.terms = Log(MetricsFile(directory.metrics), data.batch_size, cfg.log_every)
        self.bar = Bar(self.terms, data.batch_size, cfg.steps)
        self.stop = Stop(cfg.steps)
        self.callbacks = [
            self.bar,  # first, so that its clock stops before the others work
            Evaluate(self.evaluation, cfg.evaluate_every, cfg.steps),
            Samples(directory.samples, data.value_range, cfg.sample_every, cfg.steps),
            self.terms,  # before the checkpoint: its rows are on file before it exists
            self.stop,
            Checkpoint(directory.checkpoints, cfg.checkpoint_every, cfg.monitor),
        ]

    def _start(self) -> None:
        """The first writing: the run directory, or what a resume changes in it."""
        cfg = self.cfg
        if cfg.resume:
            self.checkpoint, content = self.directory.checkpoint()
            restore(self.module.game, content)
            if self.module.game.step > cfg.steps:
                raise Refused(
                    f"steps={cfg.steps}, but {cfg.resume} has played {self.module.game.step} rounds: "
                    "ask for more"
                )
        else:
            if cfg.init_from:
                restore(self.module.game, RunDirectory(cfg.init_from).checkpoint()[1])
                self.module.game.step = 0
            with open_dict(cfg):
                cfg.run_dir = str(self.directory.path)
            if self.first:
                self.directory.create()
        if self.first:
            self.directory.write_config(cfg)
        self._summarise("running", None, {})
        if self.workers is not None:
            self.workers.start(self.directory.path / "config.yaml")

    def _loggers(self) -> list[Logger]:
        if not self.first:
            return []
        return [
            instantiate(node)(directory=self.directory, cfg=self.cfg) for node in self.cfg.logger.values()
        ]

    def _fit(self) -> None:
        module, trainer = self.module, self.trainer
        stream = self.data.stream(
            self.cfg.seed,
            lambda: module.game.step,
            trainer.strategy.root_device,
            trainer.global_rank,
            trainer.world_size,
        )
        trainer.fit(module, stream, ckpt_path=self.checkpoint, weights_only=True)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.trainer.is_global_zero

    def _measure(self) -> dict[str, float]:
        """What was measured after the last round; measured now if that round was played before."""
        if self.module.measured or not self.first:
            return self.module.measured
        return self.evaluation(self.module.game)

    def _summarise(self, status: str, reason: str | None, metrics: dict[str, float]) -> None:
        if not self.first:
            return
        step = self.module.game.step
        entries: dict[str, Any] = {
            "status": status,
            "reason": reason,
            "steps": step,
            "images": step * self.data.batch_size,
            "seconds": round(self.bar.seconds, 3),
            "images_per_second": round(self.bar.images_per_second, 1),
            "skipped": len(self.data.skipped),
            "seed": self.cfg.seed,
            "commit": commit(),
            "versions": versions(),
            "command": shlex.join(["python", "-m", f"ganlab.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        }
        if metrics:
            entries["metrics"] = self.evaluation.record(metrics, self.module.game)
        try:
            self.directory.write_summary(**entries)
        except OSError as error:  # a full disk must not hide why the run ended
            print(f"summary.json could not be written: {error.strerror}", file=sys.stderr)

    def _tell(self, status: str, metrics: dict[str, float]) -> None:
        """A short table, and where to look."""
        path = self.directory.path
        lines = {"rounds": f"{self.module.game.step:,}"}
        lines["training"] = f"{self.bar.seconds:.1f} s, {self.bar.images_per_second:,.0f} images/s"
        for name, value in metrics.items():
            lines[name] = f"{value:.3f}   (real test images: {self.evaluation.floor[name]:.3f})"
        if self.data.skipped:
            lines["skipped"] = (
                f"{len(self.data.skipped)} files that are no images, {self.data.skipped[0]} first"
            )
        lines |= {"samples": str(path / "samples"), "everything": str(path)}
        if status == "stopped":
            lines["to go on"] = f"python -m ganlab.run resume={path}"
        print(f"\n{status}", *(f"  {label:<12}{text}" for label, text in lines.items()), sep="\n", flush=True)


def directory_for(cfg: DictConfig) -> Path:
    """Where a new run goes; the jobs of a sweep each have a directory of their own."""
    if cfg.run_dir is not None:
        return Path(cfg.run_dir) if cfg.job is None else Path(cfg.run_dir) / str(cfg.job)
    stem = f"outputs/{cfg.name}/{datetime.now():%Y-%m-%d_%H-%M-%S}"
    names = [stem if cfg.job is None else f"{stem}_{cfg.job}"]
    while Path(names[-1]).exists():
        names.append(f"{names[0]}.{len(names)}")
    return Path(names[-1])


def ending(error: BaseException) -> tuple[str, str]:
    """The status and the reason of a run that ended with an error."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped", type(error).__name__
    return ("diverged" if isinstance(error, Diverged) else "failed"), f"{error}" or type(error).__name__


def full(error: BaseException) -> bool:
    """Whether the disk, or a quota of it, is what was at fault."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def commit() -> str | None:
    """The commit of the checkout that runs, with a plus where it was changed; None where there is none."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    packages = ("torch-ganlab", "torch", "pytorch-lightning", "torchmetrics", "numpy")
    return {"python": sys.version.split()[0], **{package: version(package) for package in packages}}


def quiet() -> None:
    """Lightning's advice is about loops other than this one."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
