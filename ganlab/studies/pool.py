"""Plays several runs of a study at a time; signals end them with a checkpoint."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Any

from filelock import FileLock

from ganlab.config import identity
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError
from ganlab.filesystem import Lock, config_error_if_unwritable
from ganlab.studies.backend import Backend, last_words
from ganlab.studies.plan import Job, Label, Plan
from ganlab.studies.table import Row, collected, merge
from ganlab.training.callbacks.stop import SIGNALS, set_handler

PAUSE = 0.1  # seconds between two looks at the runs
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
                self.look()
        finally:
            for number, handler in before.items():
                set_handler(number, handler)
            for run in self.playing:  # only after an error
                self.backend.end(run.process)

    def note_signal(self, number: int, frame: object) -> None:
        self.signals += 1

    def begin(self) -> None:
        """Starts runs while there is room, and records those that have ended unseen."""
        for label in self.plan.open():
            is_full = len(self.playing) >= self.backend.processes
            if is_full or self.signals or self.stopped:
                return
            directory = self.plan.directory(label)
            directory.mkdir(parents=True, exist_ok=True)
            try:
                lock = None if label in self.tried else Lock(directory / "lock")
            except ConfigError:
                continue  # another process plays it
            if lock and label in self.plan.open():  # another process may have recorded it before
                self.begin_one(label, lock)
            elif lock:
                lock.release()

    def begin_one(self, label: Label, lock: Lock) -> None:
        self.tried.add(label)
        job, known = self.plan.job(label), self.plan.before[label]
        row = collected(job, self.plan.metrics)
        if row is not None and row.status != "interrupted" and (not known or row.finished > known.finished):
            self.record(job, row)
            lock.release()
        elif (identity.code(), identity.settings()) != self.made_of:
            lock.release()
            self.stopped = "ganlab or its conf has changed since this began: call again to go on with it"
        else:
            if job.parameters:  # which other workers and sessions then read
                RunDirectory(job.directory).write_summary(parameters=job.parameters)
            self.playing.append(Playing(job, lock, self.backend.start(job, lock)))

    def look(self) -> None:
        """Passes signals on, records the runs that have ended, and ends those that are hopeless."""
        if self.signals > self.passed_on:
            self.passed_on = self.signals
            for run in self.playing:  # the second signal ends the runs at once
                self.backend.end(run.process, at_once=self.signals > 1)
        for run in list(self.playing):
            if (status := self.backend.status(run.process)) is not None:
                self.playing.remove(run)
                self.settle(run, status)
                run.lock.file.close()  # not earlier, or another process would find it ended and not recorded
                self.begin()
            elif run.hopeless is None and (reason := self.plan.hopeless(run.job)) is not None:
                run.hopeless = reason
                self.backend.end(run.process)

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
