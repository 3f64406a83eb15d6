"""Plays several runs of a study at a time; signals end them with a checkpoint."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from functools import partial
from math import ceil
from pathlib import Path
from statistics import fmean

from filelock import FileLock

from ganlab.config import identity
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError
from ganlab.filesystem import Lock, config_error_if_unwritable
from ganlab.studies.backend import Backend, arguments, last_words
from ganlab.studies.composition import Job
from ganlab.studies.formatting import duration
from ganlab.studies.plan import Plan
from ganlab.studies.table import Row, collected, merge
from ganlab.training.callbacks.stop import set_handler
from ganlab.training.provenance import config_dirs

PAUSE = 0.1  # seconds between two looks at the runs
LOOK_AGAIN = 5.0  # seconds until a run that another process plays is looked at again
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Signals of a crash, which would recur. Others (SIGKILL when memory runs out) may be transient.
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)


class Playing:
    """A run that is being played; its output goes to a file beside its directory."""

    def __init__(self, job: Job, backend: Backend, lock: Lock):
        self.job, self.lock, self.began = job, lock, time.monotonic()
        self.log = job.directory.with_name(f"{job.directory.name}.log")
        self.process = backend.start(partial(arguments, job, config_dirs()), self.log, lock)
        self.hopeless: str | None = None  # the reason for which the study ended it

    def note_end(self, status: int) -> None:
        """Writes to summary.json how the run ended, if it could not do so itself."""
        directory = RunDirectory(self.job.directory)
        told = directory.summary().get("status")
        if told == "finished" or (told in ("failed", "diverged") and status == 1):
            return
        by = f"killed by {signal.Signals(-status).name}" if status < 0 else "stopped by a signal"
        is_crash, is_stop = -status in CRASHES, status == 130 or (status == 0 and told == "stopped")
        found = "failed", f"{by}: {last_words(self.log)}" if is_crash else last_words(self.log)
        if self.hopeless is not None:
            found = "pruned", self.hopeless
        elif is_stop or (status < 0 and not is_crash):
            found = "interrupted", by
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.write_summary(status=found[0], reason=found[1])


class Pool:
    """Plays the runs of a plan, which is built, until every one has ended or is played by another process."""

    def __init__(self, plan: Plan, backend: Backend):
        with config_error_if_unwritable(plan.folder, "output"):
            plan.folder.mkdir(parents=True, exist_ok=True)
        self.plan, self.backend, self.lock = plan, backend, FileLock(plan.folder / "results.lock")
        self.playing: list[Playing] = []
        self.tried: set[Path] = set()  # the directories of the runs that this process has played
        self.signals: list[int] = []  # those that came
        self.passed_on = 0  # how many of them the runs were sent
        self.stopped: str | None = None  # why no more runs are started
        self.interrupted = 0  # runs that ended by themselves, and can go on
        self.durations: list[float] = []
        self.look_at = 0.0
        self.made_of = identity.code(), identity.settings()

    def record(self, job: Job, row: Row) -> None:
        """Records how a run ended."""
        merge(self.plan.study.results, [row], self.lock)
        self.plan.note_end(job, row)
        value = "" if row.value is None else f"{self.plan.metrics[0]} {row.value:.4g}"
        left, time_left = self.plan.left(), ""
        if self.durations and left:
            time_left = f", about {duration(fmean(self.durations) * ceil(left / self.backend.processes))}"
        told = f"{row.status:<8}  {row.reason or value}  {row.seconds:.1f} s  ({left} left{time_left})"
        print(f"{row.arm:<12}  seed {row.seed}  {told}", flush=True)

    def unfinished(self) -> str:
        """How many runs failed, diverged or were interrupted; empty if none was."""
        found = [row.status for row in self.plan.counted()]
        kinds = {kind: found.count(kind) for kind in self.plan.failures}
        kinds |= {"interrupted": self.interrupted}
        return ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)

    def play(self) -> None:
        """Plays until no run is left, a signal comes, or the code changes."""
        before = {number: set_handler(number, self.note_signal) for number in SIGNALS}
        try:
            while self.look_once():
                time.sleep(PAUSE)
        finally:
            for number, handler in before.items():
                set_handler(number, handler)
            for run in self.playing:  # only after an error
                run.process.terminate()

    def note_signal(self, number: int, frame: object) -> None:
        self.signals.append(number)

    def look_once(self) -> bool:
        """Looks at everything once; returns whether there is something to wait for."""
        if len(self.signals) > self.passed_on:
            self.passed_on = len(self.signals)
            for run in self.playing:  # the second signal ends the runs at once
                (run.process.kill if self.passed_on > 1 else run.process.terminate)()
        for run in list(self.playing):
            if (status := run.process.exitcode) is not None:
                self.playing.remove(run)
                self.settle(run, status)
                run.lock.file.close()  # not earlier, or another process would find it ended and not recorded
                self.look_at = 0.0
            elif run.hopeless is None and (reason := self.plan.hopeless(run.job)) is not None:
                run.hopeless = reason
                run.process.terminate()
        while not self.signals and self.stopped is None and len(self.playing) < self.backend.processes:
            if time.monotonic() < self.look_at:
                break
            if not self.begin_one():
                self.look_at = time.monotonic() + LOOK_AGAIN
        return bool(self.playing)

    def begin_one(self) -> bool:
        """Starts the next run, or records one that has ended; returns whether there was one."""
        with self.lock:
            job, lock = self.claim()
        if job is None or lock is None:
            return False
        self.tried.add(job.directory)
        row, known = collected(job, self.plan.metrics), self.plan.before[job.arm, job.seed]
        is_new = row is not None and (known is None or row.finished > known.finished)
        if row is not None and row.status != "interrupted" and is_new:
            lock.release()
            self.record(job, row)
        elif (identity.code(), identity.settings()) != self.made_of:
            lock.release()
            self.stopped = "ganlab or its conf has changed since this began: call again to go on with it"
        else:
            self.playing.append(Playing(job, self.backend, lock))
        return self.stopped is None

    def claim(self) -> tuple[Job | None, Lock | None]:
        """The next run that no other process plays, and the lock on its directory."""
        for job in self.plan.open_jobs():
            if job.directory not in self.tried:
                job.directory.mkdir(parents=True, exist_ok=True)
                with suppress(ConfigError):
                    return job, Lock(job.directory / "lock")
        return None, None

    def settle(self, run: Playing, status: int) -> None:
        """Records a run that has ended."""
        if status == 2 and "is in use by" in last_words(run.log):
            self.tried.discard(run.job.directory)
            return  # another process plays it
        run.note_end(status)
        row = collected(run.job, self.plan.metrics)
        assert row is not None
        if row.status == "interrupted":
            self.interrupted += 1
            if self.signals:
                return  # it goes on when the study does
        else:
            self.durations.append(time.monotonic() - run.began)
        self.record(run.job, row)
