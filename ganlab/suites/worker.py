"""Plays the runs of a suite, several at a time, beside any number of other workers on the same suite."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from types import FrameType

from ganlab.callbacks.stop import handle
from ganlab.errors import Refused
from ganlab.run_directory import RunDirectory
from ganlab.suites import identity, results
from ganlab.suites.child import Child, Lock, beside, recorded
from ganlab.suites.plan import Job
from ganlab.suites.results import Row
from ganlab.suites.standing import ended, standing
from ganlab.suites.suite import Suite

PAUSE = 0.1  # seconds between two looks at the runs that are being played
LOOK = 5.0  # seconds until a run that somebody else plays is looked at again
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Ended:
    """How a worker's work ended."""

    left: int  # runs of which nothing is recorded: with other processes, interrupted, or not begun
    signal: int | None  # that ended it
    stopped: str | None  # why no more runs were begun


class Worker:
    """Plays what is to be played, and records each run as it ends.

    Args:
        suite: whose results it appends to.
        jobs: of the suite, in the order in which they are to be played.
        processes: how many are played at a time.
        threads: of each of them.
        rerun: stale or failed: what is played anew, though it is recorded.
    """

    def __init__(self, suite: Suite, jobs: Sequence[Job], processes: int, threads: int, rerun: str | None):
        self.suite = suite
        self.jobs = jobs
        self.processes = processes
        self.threads = threads
        self.rerun = rerun
        self.children: list[Child] = []
        self.tried: set[int] = set()
        self.signals: list[int] = []  # that came
        self.passed_on = 0  # of them, to the children
        self.stopped: str | None = None
        self.durations: list[float] = []
        self.interrupted = 0  # runs that ended by themselves, without a row
        self.look_at = 0.0
        self.settings = identity.settings()
        rows, self.torn = results.read(suite.results)
        self.before = [standing(job, rows) for job in jobs]
        self.width = max((len(job.arm) for job in jobs), default=0)

    def work(self) -> Ended:
        """Plays until there is no run left that nobody plays; or a signal came, or the code has changed."""
        if self.torn:
            print(self.torn, flush=True)
        for found in self.before:
            if found.row is not None and not found.last:
                self.append(found.row)  # for the report the last row of an arm and seed counts
        try:
            with self.listening():
                while self.going_on():
                    time.sleep(PAUSE)
        finally:
            for child in self.children:  # only after an error
                child.process.terminate()
        return Ended(len(self.left()), self.signals[0] if self.signals else None, self.stopped)

    def going_on(self) -> bool:
        """Looks once at everything; whether there is something to wait for."""
        self.pass_on()
        for child in [child for child in self.children if child.ended()]:
            self.children.remove(child)
            self.settle(child)
            self.look_at = 0.0
        while self.free() and time.monotonic() >= self.look_at:
            if not self.begin_one():
                self.look_at = time.monotonic() + LOOK
        return bool(self.children)

    def free(self) -> bool:
        return not self.signals and self.stopped is None and len(self.children) < self.processes

    def begin_one(self) -> bool:
        """Begins, or records, the first run that is left and that nobody plays; whether there was one."""
        for number in self.left():
            job = self.jobs[number]
            if number in self.tried:  # interrupted by itself, which another call goes on with
                continue
            lock = Lock(beside(job, ".lock"))
            if not lock.take():
                continue
            if number not in self.left():  # another worker has recorded it since
                lock.close()
            elif ended(job.directory):
                self.record(job, recorded(job))
                lock.close()
            elif identity.code() != job.code or identity.settings() != self.settings:
                lock.close()
                self.stopped = "ganlab or its conf has changed since this began: call again to go on with it"
                return False
            else:
                self.tried.add(number)
                self.children.append(Child(job, lock, self.threads))
            return True
        return False

    def left(self) -> list[int]:
        """The numbers of the jobs that are to be played, and of which nothing was recorded since."""
        rows, _ = results.read(self.suite.results)
        return [
            number
            for number, (job, before) in enumerate(zip(self.jobs, self.before, strict=True))
            if not before.done(self.rerun) and standing(job, rows).row == before.row
        ]

    def settle(self, child: Child) -> None:
        """Records a run that has ended."""
        row = child.row()
        if row is None:
            self.interrupted += 1
            print(f"{self.name(child.job)}  interrupted ({child.log})", flush=True)
        else:
            self.durations.append(time.monotonic() - child.began)
            self.record(child.job, row)
        child.lock.close()  # not earlier, or another worker would find it finished and not recorded

    def record(self, job: Job, row: Row) -> None:
        self.append(row)
        if row.status == "finished" and job.seed == self.suite.seeds[0]:
            self.show(job)
        value = "" if row.value is None else f"{job.names[0]} {row.value:.4g}"
        left = len(self.left())
        print(
            f"{self.name(job)}  {row.status:<8}  {row.reason or value}  {row.seconds:.1f} s  "
            f"({left} left{self.time_left(left)})",
            flush=True,
        )

    def append(self, row: Row) -> None:
        if said := results.append(self.suite.results, row):
            print(said, flush=True)

    def show(self, job: Job) -> None:
        """Copies the last picture of a run beside the results."""
        pictures = sorted(RunDirectory(job.directory).samples.glob("*.png"))
        if not pictures:
            return
        place = self.suite.folder / "samples" / f"{job.arm}.png"
        part = place.with_name(place.name + ".part")
        try:
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(pictures[-1], part)
            os.replace(part, place)
        except OSError as error:
            raise Refused(
                f"{place} cannot be written: {error.strerror}; make room, or give rights"
            ) from error

    def name(self, job: Job) -> str:
        return f"{job.arm:<{self.width}}  seed {job.seed}"

    def time_left(self, left: int) -> str:
        """In words, from the runs that this worker has played to their end."""
        if not self.durations or not left:
            return ""
        mean = sum(self.durations) / len(self.durations)
        return f", about {span(mean * ceil(left / self.processes))}"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notes the signals that end the work; the runs themselves are told of them."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            handle(number, self.note)
        try:
            yield
        finally:
            for number, handler in before.items():
                handle(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)

    def pass_on(self) -> None:
        """The first signal lets the runs write a checkpoint; the second ends them at once."""
        if len(self.signals) == self.passed_on:
            return
        self.passed_on = len(self.signals)
        for child in self.children:
            child.process.send_signal(signal.SIGTERM if self.passed_on == 1 else signal.SIGKILL)


def span(seconds: float) -> str:
    """A time in words, to two of its units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
