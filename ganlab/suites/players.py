"""Several runs at a time, each a process of its own; signals end them with a checkpoint."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING

from ganlab.suites import identity
from ganlab.suites.child import Child
from ganlab.suites.plan import Job
from ganlab.suites.results import Row
from ganlab.suites.words import duration
from ganlab.training.callbacks.stop import set_handler

if TYPE_CHECKING:
    from ganlab.sweeps.sweep import Tried

PAUSE = 0.1  # seconds between two looks at the runs that are being played
LOOK = 5.0  # seconds until a run that somebody else plays is looked at again
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Players(ABC):
    """Plays runs, `processes` at a time, until none is left that nobody else plays.

    Which run comes next, and what becomes of one that has ended, is for those who know what they are for.

    Args:
        processes: how many are played at a time.
        threads: of each of them.
    """

    def __init__(self, processes: int, threads: int):
        self.processes, self.threads = processes, threads
        self.children: list[Child] = []
        self.signals: list[int] = []  # that came
        self.passed_on = 0  # of them, to the children
        self.stopped: str | None = None  # why no more runs were begun
        self.interrupted = 0  # runs that ended by themselves, and are to go on
        self.durations: list[float] = []
        self.look_at = 0.0
        self.made_of = identity.code(), identity.settings()

    @abstractmethod
    def begin_one(self) -> bool:
        """Begins a run, or records one that has ended; whether there was any to begin or record."""

    @abstractmethod
    def record(self, job: Job, row: Row | None) -> None:
        """Writes down how a run has ended, None where this process has ended it as hopeless, and tells it."""

    def hopeless(self, child: Child) -> bool:
        """Whether a run was ended because it was."""
        return False

    def name(self, job: Job) -> str:
        """What a run is called in a line."""
        return job.arm

    def watch(self, child: Child) -> None:  # noqa: B027, nobody need look
        """Looks at a run that is being played."""

    def play(self) -> None:
        """Plays until there is no run left that nobody plays; or a signal came, or the code has changed."""
        try:
            with self.listening():
                while self.going_on():
                    time.sleep(PAUSE)
        finally:
            for child in self.children:  # only after an error
                child.process.terminate()

    def going_on(self) -> bool:
        """Looks once at everything; whether there is something to wait for."""
        self.pass_on()
        for child in [child for child in self.children if child.process.poll() is not None]:
            self.children.remove(child)
            self.settle(child)
            self.look_at = 0.0
        for child in self.children:
            self.watch(child)
        while not self.signals and self.stopped is None and len(self.children) < self.processes:
            if time.monotonic() < self.look_at:
                break
            if not self.begin_one():
                self.look_at = time.monotonic() + LOOK
        return bool(self.children)

    def unchanged(self) -> bool:
        """Whether a run that begins now is played by the code that all of this began with."""
        if (identity.code(), identity.settings()) == self.made_of:
            return True
        self.stopped = "ganlab or its conf has changed since this began: call again to go on with it"
        return False

    def settle(self, child: Child) -> None:
        """Records a run that has ended, and lets go of its lock."""
        row = child.row()
        if row is None and not self.hopeless(child):
            self.interrupted += 1
            how = f" by {child.killed_by}" if child.killed_by else ""
            print(f"{self.name(child.job)}  interrupted{how} ({child.log})", flush=True)
        else:
            self.durations.append(time.monotonic() - child.began)
            self.record(child.job, row)
        child.lock.close()  # not earlier, or another worker would find it finished and not recorded

    def tell(self, job: Job, row: Row | Tried, left: int) -> None:
        """A line on a run that has ended, and on the time that the others will take by those played here."""
        value = "" if row.value is None else f"{job.names[0]} {row.value:.4g}"
        said = f"{left} left"
        if self.durations and left:
            mean = sum(self.durations) / len(self.durations)
            said += f", about {duration(mean * ceil(left / self.processes))}"
        told = f"{row.status:<8}  {row.reason or value}  {row.seconds:.1f} s  ({said})"
        print(f"{self.name(job)}  {told}", flush=True)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notes the signals that end the work; the runs themselves are told of them."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            set_handler(number, lambda number, frame: self.signals.append(number))
        try:
            yield
        finally:
            for number, handler in before.items():
                set_handler(number, handler)

    def pass_on(self) -> None:
        """The first signal lets the runs write a checkpoint; the second ends them at once."""
        if len(self.signals) == self.passed_on:
            return
        self.passed_on = len(self.signals)
        for child in self.children:
            child.process.send_signal(signal.SIGTERM if self.passed_on == 1 else signal.SIGKILL)
