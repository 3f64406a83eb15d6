"""Plays the trials of a sweep, several at a time, beside any number of other workers on the same sweep."""

import csv
import fcntl
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.suites.child import Child, recorded, right_to
from ganlab.suites.plan import Job
from ganlab.suites.players import Players
from ganlab.suites.results import Row, split
from ganlab.suites.standing import ended
from ganlab.sweeps.plan import Plan
from ganlab.sweeps.search import Search
from ganlab.sweeps.sweep import Tried


class Trial:
    """A trial that this process has begun, or goes on with."""

    def __init__(self, number: int, parameters: dict[str, Any], job: Job):
        self.number, self.parameters, self.job = number, parameters, job
        self.last = Timetable(job.cfg).total
        self.course: dict[str, float] = {}  # as it was reported
        self.looked_at: tuple[int, int] | None = None
        self.hopeless: str | None = None  # why it was ended

    def news(self) -> bool:
        """Whether there is an evaluation that was not there the last time, but for that of the last round."""
        metrics = RunDirectory(self.job.directory).metrics
        try:
            state = metrics.stat()
        except FileNotFoundError:
            return False
        if self.looked_at == (looked_at := (state.st_size, state.st_mtime_ns)):
            return False
        self.looked_at = looked_at
        before = self.course
        self.course = {step: value for step, value in course(self.job).items() if int(step) < self.last}
        return self.course != before


class Sweeper(Players):
    """Asks for what to try, plays it, ends it where it is hopeless, and records how it ended.

    Raises:
        ConfigError: what is on file does not belong to this sweep.
    """

    def __init__(self, plan: Plan, processes: int, threads: int):
        super().__init__(processes, threads)
        self.plan, self.sweep = plan, plan.sweep
        self.trials: dict[int, Trial] = {}
        self.tried: set[int] = set()  # begun by this process, or recorded
        with self._turn():
            self.search = Search(plan.sweep, plan.journal, plan.more)
            rows, torn = Tried.read(self.sweep.results)
            plan.refuse_others(rows)
            self.search.catch_up(rows)
        if torn:
            print(torn, flush=True)

    def begin_one(self) -> bool:
        """Goes on with a trial that nobody plays any more, or asks for a new one; whether there was one."""
        if not self.unchanged():
            return False
        with self._turn():
            self.search.catch_up(self.rows())
            begun = (number for number in self.search.running() if number not in self.tried)
            if any(map(self._take, begun)):
                return True
            number = self.search.next()
            return number is not None and self._take(number)

    def watch(self, child: Child) -> None:
        """Reports what was measured since the last look, and ends the run where that is hopeless."""
        trial = self._of(child.job)
        if trial.hopeless is None and trial.news():
            self.search.report(trial.number, trial.course)
            trial.hopeless = self.search.hopeless(trial.number)
            if trial.hopeless is not None:
                child.process.terminate()

    def hopeless(self, child: Child) -> bool:
        return self._of(child.job).hopeless is not None

    def record(self, job: Job, row: Row | None) -> None:
        with self._turn():
            self._record(self._of(job), row)

    def rows(self) -> list[Tried]:
        return Tried.read(self.sweep.results)[0]

    def left(self) -> int:
        """How many trials are yet to end."""
        return max(self.sweep.trials - len(self.rows()), 0)

    def _take(self, number: int) -> bool:
        """Begins a trial, or goes on with it, or records that it has ended; whether nobody else plays it."""
        trial = self.trials.get(number)
        if trial is None:
            parameters = self.search.parameters(number)
            trial = self.trials[number] = Trial(number, parameters, self.plan.job(number, parameters))
        lock = right_to(self.sweep.folder, trial.job)
        if lock is None:
            return False
        self.tried.add(number)
        if ended(trial.job.directory):
            self._record(trial, recorded(trial.job))
            lock.close()
            return True
        if trial.news():
            self.search.report(number, trial.course)
        trial.hopeless = self.search.hopeless(number)
        if trial.hopeless is not None and trial.course:
            self._record(trial, None)
            lock.close()
            return True
        self.children.append(Child(trial.job, lock, self.threads))
        return True

    def _record(self, trial: Trial, row: Row | None) -> None:
        """Writes the row of a trial; without the row of its run it was pruned."""
        found = row or recorded(trial.job, trial.hopeless)
        same = {name: value for name, value in vars(found).items() if name != "arm"}
        if row is None:
            same["status"] = "pruned"
        same |= {"parameters": trial.parameters, "course": course(trial.job), "space": self.plan.space}
        result = Tried(trial=trial.number, **same)
        if said := result.append(self.sweep.results):
            print(said, flush=True)
        self.search.tell(result)
        self.tell(trial.job, result, self.left())

    def _of(self, job: Job) -> Trial:
        return self.trials[int(job.arm.removeprefix("trial"))]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """While this lasts no other worker asks, begins or records: what they know is the same."""
        self.plan.place.mkdir(parents=True, exist_ok=True)
        with (self.plan.place / "turn.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
            fcntl.flock(file, fcntl.LOCK_UN)  # a fork of this process may hold the file open


def course(job: Job) -> dict[str, float]:
    """The metric of a run by the round of each evaluation so far; a half-written last row is left out."""
    try:
        whole, _ = split(RunDirectory(job.directory).metrics.read_bytes())
    except FileNotFoundError:
        return {}
    rows = csv.DictReader(io.StringIO(whole.decode()))
    return {row["step"]: float(row[job.names[0]]) for row in rows if row.get(job.names[0])}
