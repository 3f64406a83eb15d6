"""Plays several runs of a study at a time; signals end them with a checkpoint."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import ceil
from pathlib import Path

import pandas

from ganlab.config import identity
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError
from ganlab.filesystem import Lock
from ganlab.studies.backend import Backend, arguments
from ganlab.studies.composition import Job
from ganlab.studies.formatting import duration
from ganlab.studies.plan import Plan
from ganlab.studies.status import collected
from ganlab.studies.table import Row, Table
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
        by = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        if told == "finished" or (told in ("failed", "diverged") and status == 1):
            return
        if self.hopeless is not None:
            found = ("pruned", self.hopeless)
        elif -status in CRASHES:
            found = ("failed", f"{by}: {last_words(self.log)}")
        elif status < 0 or status == 130 or (status == 0 and told == "stopped"):
            found = ("interrupted", by if status < 0 else "stopped by a signal")
        else:
            found = ("failed", last_words(self.log))
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.write_summary(status=found[0], reason=found[1])


class RunPool(ABC):
    """Plays the runs of a plan until every one has ended or is played by another process."""

    def __init__(self, plan: Plan, backend: Backend):
        plan.folder.mkdir(parents=True, exist_ok=True)
        self.table, self.backend = Table(plan.study.results, plan.folder / "results.lock"), backend
        self.metric, self.size = plan.metrics[0], plan.size
        self.playing: list[Playing] = []
        self.tried: set[Path] = set()  # the directories of the runs that this process has played
        self.signals: list[int] = []  # those that came
        self.passed_on = 0  # how many of them the runs were sent
        self.stopped: str | None = None  # why no more runs are started
        self.num_stale = 0  # finished runs of other numerics that are not repeated
        self.interrupted = 0  # runs that ended by themselves, and can go on
        self.durations: list[float] = []
        self.look_at = 0.0
        self.made_of = identity.code(), identity.settings()

    @abstractmethod
    def candidates(self) -> Iterator[Job]:
        """The runs to play, the next one first; called under the lock of the table."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """The rows that count, one for each run."""

    @abstractmethod
    def left(self) -> int:
        """The number of runs that have not ended."""

    def watch(self, run: Playing) -> None:  # noqa: B027, most pools need not look
        """Looks at a run that is being played, and may set `hopeless`."""

    def record(self, job: Job, row: Row) -> None:
        """Records how a run ended."""
        self.table.merge([row])
        value = "" if row.value is None else f"{job.metrics[0]} {row.value:.4g}"
        left, time_left = self.left(), ""
        if self.durations and left:
            mean = sum(self.durations) / len(self.durations)
            time_left = f", about {duration(mean * ceil(left / self.backend.processes))}"
        told = f"{row.status:<8}  {row.reason or value}  {row.seconds:.1f} s  ({left} left{time_left})"
        print(f"{row.arm:<12}  seed {row.seed}  {told}", flush=True)

    def results(self) -> str:
        """The number of runs that finished and the mean of the first metric, of each arm, the best first."""
        frame = pandas.DataFrame([(row.arm, row.value) for row in self.rows()], columns=["arm", self.metric])
        return frame.groupby("arm", sort=False)[self.metric].agg(["count", "mean"]).to_string()

    def unfinished(self) -> str:
        """How many runs failed, diverged or were interrupted; empty if none was."""
        count = Counter(row.status for row in self.rows())
        kinds = {kind: count[kind] for kind in ("failed", "diverged")} | {"interrupted": self.interrupted}
        return ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)

    def play(self) -> None:
        """Plays until no run is left, a signal comes, or the code changes."""
        try:
            with self.listening():
                while self.look_once():
                    time.sleep(PAUSE)
        finally:
            for run in self.playing:  # only after an error
                run.process.terminate()

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
            elif run.hopeless is None:
                self.watch(run)
                if run.hopeless is not None:
                    run.process.terminate()
        while not self.signals and self.stopped is None and len(self.playing) < self.backend.processes:
            if time.monotonic() < self.look_at:
                break
            if not self.begin_one():
                self.look_at = time.monotonic() + LOOK_AGAIN
        return bool(self.playing)

    def begin_one(self) -> bool:
        """Starts the next run, or records one that has ended; returns whether there was one."""
        with self.table.lock:
            new = (job for job in self.candidates() if job.directory not in self.tried)
            claimed = ((job, lock) for job in new if (lock := claim(job)) is not None)
            job, lock = next(claimed, (None, None))
        if job is None or lock is None:
            return False
        self.tried.add(job.directory)
        row = collected(job)
        if row is not None and row.status in ("finished", "pruned"):
            lock.release()
            self.record(job, row)
        elif (identity.code(), identity.settings()) != self.made_of:
            lock.release()
            self.stopped = "ganlab or its conf has changed since this began: call again to go on with it"
        else:
            self.playing.append(Playing(job, self.backend, lock))
        return self.stopped is None

    def settle(self, run: Playing, status: int) -> None:
        """Records a run that has ended."""
        if status == 2 and "is in use by" in last_words(run.log):
            self.tried.discard(run.job.directory)
            return  # another process plays it
        run.note_end(status)
        row = collected(run.job)
        assert row is not None
        if row.status == "interrupted":
            self.interrupted += 1
            if self.signals:
                return  # it goes on when the study does
        else:
            self.durations.append(time.monotonic() - run.began)
        self.record(run.job, row)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notes the signals that end the study."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            set_handler(number, lambda number, frame: self.signals.append(number))
        try:
            yield
        finally:
            for number, handler in before.items():
                set_handler(number, handler)


def claim(job: Job) -> Lock | None:
    """The lock on the directory of a run; None if another process has it."""
    job.directory.mkdir(parents=True, exist_ok=True)
    try:
        return Lock(job.directory / "lock")
    except ConfigError:
        return None


def last_words(log: Path) -> str:
    """What a run said of its failure: the line of the command, or else the last one."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    told = [line.removeprefix("run: ") for line in lines if line.startswith("run: ")]
    return (told or lines or ["it ended without a word"])[-1]
