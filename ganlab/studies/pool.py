"""Plays several runs of a study at a time, or estimates their time; signals end them with a checkpoint."""

from __future__ import annotations

import signal
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config import identity
from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable, stages_before_main
from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import Lock, config_error_if_unwritable
from ganlab.studies.backend import Backend, Local, last_words
from ganlab.studies.formatting import duration
from ganlab.studies.plan import Job, Plan
from ganlab.studies.table import Label, Row, collected, merge
from ganlab.training.callbacks.stop import SIGNALS, set_handler

PAUSE = 0.1  # seconds between two looks at the runs
IDLE = 10  # seconds until it is looked again for runs that a process without an end has left
FIRST, MORE = 10, 10  # steps of an estimate: not timed, because much happens for the first time; and timed
# Signals of a crash, which would recur. Others (SIGKILL when memory runs out) may be transient.
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)


@dataclass
class Playing:
    """A run that is being played, the lock on its directory, and the reason if the study has ended it."""

    job: Job
    lock: Lock
    process: Any
    hopeless: str | None = None


class Pool:
    """Plays the runs of a plan, which is built, until every one has ended or is played by another process."""

    def __init__(self, plan: Plan, backend: Backend):
        with config_error_if_unwritable(plan.folder, "output"):
            plan.folder.mkdir(parents=True, exist_ok=True)
        self.plan, self.backend, self.lock = plan, backend, FileLock(plan.folder / "results.lock")
        self.playing: list[Playing] = []
        self.tried: set[Label] = set()  # the runs that this process has played
        self.signals = self.passed_on = 0  # how many came, and how many the runs were sent
        self.stopped: str | None = None  # why no more runs are started
        self.made_of = identity.code(), identity.settings()

    def play(self) -> None:
        """Plays until no run is left, a signal comes, or the code changes."""
        before = {number: set_handler(number, self.note_signal) for number in SIGNALS}
        try:
            self.begin()
            while self.playing:
                time.sleep(PAUSE)
                if self.look() or time.monotonic() > self.begun + IDLE:
                    self.begin()
        finally:
            for number, handler in before.items():
                set_handler(number, handler)
            for run in self.playing:  # only after an error
                self.backend.end(run.process)

    def note_signal(self, number: int, frame: object) -> None:
        self.signals += 1

    def begin(self) -> None:
        """Starts runs while there is room, and records those that have ended unseen."""
        self.begun = time.monotonic()
        for label in self.plan.open():
            if len(self.playing) >= self.backend.processes or self.signals or self.stopped:
                return
            directory = self.plan.directory(label)
            directory.mkdir(parents=True, exist_ok=True)
            try:
                lock = None if label in self.tried else Lock(directory / "lock")
            except ConfigError:
                continue  # another process plays it
            if lock and not self.begins(label, lock):
                lock.release()

    def begins(self, label: Label, lock: Lock) -> bool:
        """Whether a run, which is locked, begins; if it has ended unseen, it is recorded."""
        if label not in self.plan.open():  # another process has recorded it before it was locked
            return False
        self.tried.add(label)
        job, known = self.plan.job(label), self.plan.before[label]
        row = collected(job, self.plan.metrics)
        if row is not None and row.status != "interrupted" and (not known or row.finished > known.finished):
            self.record(job, row)
        elif (identity.code(), identity.settings()) != self.made_of:
            self.stopped = "ganlab or its conf has changed since this began: call again to go on with it"
        else:
            if job.parameters:  # which other workers and sessions then read
                RunDirectory(job.directory).write_summary(parameters=job.parameters)
            self.playing.append(Playing(job, lock, self.backend.start(job, lock)))
            return True
        return False

    def look(self) -> bool:
        """Passes signals on, ends hopeless runs, and records those that have ended; whether there was one."""
        if self.signals > self.passed_on:
            self.passed_on = self.signals
            for run in self.playing:  # the second signal ends the runs at once
                self.backend.end(run.process, at_once=self.signals > 1)
        before = len(self.playing)
        for run in list(self.playing):
            if (status := self.backend.status(run.process)) is not None:
                self.playing.remove(run)
                self.settle(run, status)
                run.lock.file.close()  # not earlier, or another process would find it ended and not recorded
            elif run.hopeless is None and (reason := self.plan.hopeless(run.job)) is not None:
                run.hopeless = reason
                self.backend.end(run.process)
        return len(self.playing) < before

    def settle(self, run: Playing, status: int) -> None:
        """Records a run that has ended, unless another process plays it."""
        if status == 2 and "is in use by" in last_words(run.job):
            self.tried.discard((run.job.arm, run.job.seed))
            return
        note_end(run, status)
        row = collected(run.job, self.plan.metrics)
        assert row is not None
        if row.status != "interrupted" or not self.signals:  # after a signal, it goes on with the study
            self.record(run.job, row)

    def record(self, job: Job, row: Row) -> None:
        """Records how a run ended."""
        merge(self.plan.study.results, [row], self.lock)
        self.plan.keep_picture(job)
        value = "" if row.value is None else f"{self.plan.metrics[0]} {row.value:.4g}"
        told = f"{row.status:<8}  {row.reason or value}  {row.seconds:.1f} s"
        print(f"{row.arm:<12}  seed {row.seed}  {told}  ({len(self.plan.open())} left)", flush=True)


def note_end(run: Playing, status: int) -> None:
    """Writes to summary.json how a run ended, if it could not do so itself."""
    directory, words = RunDirectory(run.job.directory), last_words(run.job)
    directory.path.mkdir(parents=True, exist_ok=True)  # someone may have removed it
    told = directory.summary().get("status")
    if told == "finished" or (told in ("failed", "diverged") and status == 1):
        return
    by = f"killed by {signal.Signals(-status).name}" if status < 0 else "stopped by a signal"
    found = "failed", f"{by}: {words}" if -status in CRASHES else words
    if run.hopeless is not None:
        found = "pruned", run.hopeless
    elif -status not in CRASHES and (status < 0 or status == 130 or (status == 0 and told == "stopped")):
        found = "interrupted", by
    directory.write_summary(status=found[0], reason=found[1])


def print_estimate(plan: Plan, backend: Local) -> None:
    """Prints how long the runs that are left would take, without evaluations, pictures and loggers."""
    total, left, kinds = 0.0, plan.open(), dict[tuple[str, str], list[Label]]()
    for label in left:
        kinds.setdefault(plan.identity(label[0]), []).append(label)
    for labels in kinds.values():
        job = plan.job(labels[0])
        steps, (per_step, start) = Timetable(job.cfg).total, measured(job, backend)
        time_of_all = len(labels) * (steps * per_step + start)
        each = f"{steps:,} steps of {1000 * per_step:.1f} ms, {start:.1f} s of starting and ending each"
        print(f"  {job.arm}: {len(labels)} runs, {each}: {duration(time_of_all)}", flush=True)
        total += time_of_all
    at_a_time = min(backend.processes, len(left)) or 1
    without = "without evaluations, pictures, checkpoints and loggers"
    print(f"in all {duration(total / at_a_time)}, {at_a_time} at a time, {without}")


def measured(job: Job, backend: Local) -> tuple[float, float]:
    """The seconds of a step, and those of everything before the first step and after the last.

    Raises:
        ConfigError: the run could not be played.
    """
    with tempfile.TemporaryDirectory() as folder:
        run, began, cfg = RunDirectory(Path(folder) / "trial"), time.monotonic(), shortened(job.cfg)
        run.make_folders()
        run.write_config(cfg)
        trial = replace(job, cfg=cfg, directory=run.path, overrides=["logger=csv"], outside=[])
        backend.start(trial, Lock(run.path / "lock")).join()
        failed = f"arm {job.arm}: a trial of {FIRST + MORE} steps failed: {last_words(trial)}"
        require(run.summary().get("status") == "finished", failed)
        callbacks = [run.checkpoint(name)[1]["callbacks"] for name in ("previous", "last")]
        early, late = (found["Bar"]["seconds"] for found in callbacks)
        return (late - early) / MORE, time.monotonic() - began - late


def shortened(cfg: DictConfig) -> DictConfig:
    """A config with few steps, of which stages have one each, and without all that is no game."""
    own: Any = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    with open_dict(own):
        own.metric, own.logger, own.monitor, own.images, own.profile = {}, {}, None, None, False
        for stage in stages_before_main(own).values():
            stage.steps = 1
        own.steps = FIRST + MORE - len(stages_before_main(own))
        own.evaluate_every = own.sample_every = FIRST + MORE + 1
        own.log_every = own.checkpoint_every = FIRST
    return own
