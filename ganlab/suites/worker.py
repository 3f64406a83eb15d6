"""Plays the runs of a suite, several at a time, beside any number of other workers on the same suite."""

from collections.abc import Sequence

from ganlab.config.run_directory import RunDirectory
from ganlab.filesystem import atomic_writer, config_error_if_unwritable
from ganlab.suites.child import Child, recorded, right_to
from ganlab.suites.plan import Job
from ganlab.suites.players import Players
from ganlab.suites.results import Row
from ganlab.suites.standing import ended, standing
from ganlab.suites.suite import Suite


class Worker(Players):
    """Plays what is to be played, and records each run as it ends.

    Args:
        suite: whose results it appends to.
        jobs: of the suite, in the order in which they are to be played.
        processes, threads: as `Players` has them.
        rerun: stale or failed: which recorded runs are repeated.
    """

    def __init__(self, suite: Suite, jobs: Sequence[Job], processes: int, threads: int, rerun: str | None):
        super().__init__(processes, threads)
        self.suite, self.jobs, self.rerun = suite, jobs, rerun
        self.tried: set[int] = set()
        rows, self.torn = Row.read(suite.results)
        self.before = [standing(job, rows) for job in jobs]
        self.width = max((len(job.arm) for job in jobs), default=0)

    def work(self) -> None:
        """Plays until there is no run left that nobody plays; or a signal came, or the code has changed."""
        if self.torn:
            print(self.torn, flush=True)
        for found in self.before:
            if found.row is not None and not found.last:
                self.append(found.row)  # for the report the last row of an arm and seed counts
        self.play()

    def begin_one(self) -> bool:
        """Begins, or records, the first run that is left and that nobody plays; whether there was one."""
        for number in self.left():
            job = self.jobs[number]
            if number in self.tried:  # interrupted by itself, which another call goes on with
                continue
            lock = right_to(self.suite.folder, job)
            if lock is None:
                continue
            if number not in self.left():  # another worker has recorded it since
                lock.close()
            elif ended(job.directory):
                self.record(job, recorded(job))
                lock.close()
            elif not self.unchanged():
                lock.close()
                return False
            else:
                self.tried.add(number)
                self.children.append(Child(job, lock, self.threads))
            return True
        return False

    def left(self) -> list[int]:
        """The numbers of the jobs that are to be played, and of which nothing was recorded since."""
        rows, _ = Row.read(self.suite.results)
        return [
            number
            for number, (job, before) in enumerate(zip(self.jobs, self.before, strict=True))
            if not before.done(self.rerun) and standing(job, rows).row == before.row
        ]

    def record(self, job: Job, row: Row | None) -> None:
        assert row is not None
        self.append(row)
        if row.status == "finished" and self.first_seed(job):
            self.show(job)
        self.tell(job, row, len(self.left()))

    def first_seed(self, job: Job) -> bool:
        """Whether no seed before it is to be shown for its arm: that did not end otherwise."""
        rows, _ = Row.read(self.suite.results)
        bad = {row.seed for row in rows if row.arm == job.arm and row.status != "finished"}
        return job.seed == next(seed for seed in self.suite.seeds if seed == job.seed or seed not in bad)

    def append(self, row: Row) -> None:
        if said := row.append(self.suite.results):
            print(said, flush=True)

    def show(self, job: Job) -> None:
        """Copies the last picture of a run beside the results."""
        pictures = sorted(RunDirectory(job.directory).samples.glob("*.png"))
        if not pictures:
            return
        place = self.suite.folder / "samples" / f"{job.arm}.png"
        with config_error_if_unwritable(place):
            place.parent.mkdir(exist_ok=True)
            with atomic_writer(place) as file:
                file.write(pictures[-1].read_bytes())

    def name(self, job: Job) -> str:
        return f"{job.arm:<{self.width}}  seed {job.seed}"
