"""Which run of a study comes next: that of a suite's list, or what optuna suggests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.filesystem import atomic_writer, config_error_if_unwritable
from ganlab.studies import search as searches
from ganlab.studies.backend import Backend
from ganlab.studies.composition import Job
from ganlab.studies.plan import Plan, SearchPlan, SuitePlan
from ganlab.studies.pool import Playing, RunPool
from ganlab.studies.status import course
from ganlab.studies.table import Row


class SuitePool(RunPool):
    """Plays the runs of a suite, one seed of all arms before the next."""

    def __init__(self, plan: SuitePlan, backend: Backend):
        super().__init__(plan, backend)
        self.plan, rows = plan, plan.rows()
        before = {job.directory: plan.status(job, rows) for job in plan.jobs}
        # What is to be played. It is left as long as its row is still the old one.
        self.old = {path: found.row for path, found in before.items() if not found.is_done(plan.rerun)}
        self.num_stale = sum(found.is_stale for path, found in before.items() if path not in self.old)

    def candidates(self) -> Iterator[Job]:
        rows = self.plan.rows()
        for job in self.plan.jobs:
            row = self.plan.status(job, rows).row
            is_open = row is None or row.status == "interrupted" or row == self.old.get(job.directory)
            if job.directory in self.old and is_open:
                yield job

    def rows(self) -> list[Row]:
        rows = self.plan.rows()
        return [row for job in self.plan.jobs if (row := self.plan.status(job, rows).row) is not None]

    def left(self) -> int:
        return sum(1 for _ in self.candidates())

    def record(self, job: Job, row: Row) -> None:
        super().record(job, row)
        bad = {one.seed for one in self.rows() if one.arm == job.arm and one.status != "finished"}
        first = next((seed for seed in self.plan.suite.seeds if seed not in bad), None)
        if row.status == "finished" and job.seed == first:
            self.copy_samples(job)

    def copy_samples(self, job: Job) -> None:
        """Copies the last picture of a run to the folder of the suite."""
        pictures = sorted(RunDirectory(job.directory).samples.glob("*.png"))
        place = self.plan.suite.folder / "samples" / f"{job.arm}.png"
        if pictures:
            with config_error_if_unwritable(place):
                place.parent.mkdir(exist_ok=True)
                with atomic_writer(place) as file:
                    file.write(pictures[-1].read_bytes())


class SearchPool(RunPool):
    """Plays the trials of a search, and ends those that are hopeless."""

    def __init__(self, plan: SearchPlan, backend: Backend):
        super().__init__(plan, backend)
        self.plan, self.search = plan, plan.search
        self.jobs: dict[int, Job] = {}
        self.judged: dict[Path, dict[str, float]] = {}  # the evaluations of each run that were judged
        searches.refuse_others(self.search, plan.space, self.rows())

    def rows(self) -> list[Row]:
        return [row for row in self.plan.rows() if row.status != "interrupted"]

    def candidates(self) -> Iterator[Job]:
        rows = self.rows()
        ended = {searches.number_of(row) for row in rows}
        for number in range(self.search.trials):
            if number not in ended:
                yield self.job(number, rows)

    def job(self, number: int, rows: Sequence[Row]) -> Job:
        """The run of a trial. What it tries stands in the summary of its directory as soon as it is drawn."""
        if number not in self.jobs:
            drawn = (RunDirectory(path).summary() for path in self.plan.folder.glob(f"trial{number}_seed*/"))
            mine = [found["parameters"] for found in drawn if found.get("space") == self.plan.space]
            parameters = mine[0] if mine else searches.suggested(self.search, rows, number, self.plan.higher)
            self.jobs[number] = job = self.plan.trial(number, parameters)
            if not mine:
                job.directory.mkdir(parents=True, exist_ok=True)
                RunDirectory(job.directory).write_summary(parameters=parameters, space=self.plan.space)
        return self.jobs[number]

    def results(self) -> str:
        """How many trials ended in which way, and the best."""
        rows = self.rows()
        lines = [", ".join(f"{n} {kind}" for kind, n in Counter(row.status for row in rows).items())]
        for row in searches.best(rows, self.plan.higher)[:1]:
            values = "  ".join(f"{name}={value}" for name, value in row.parameters.items())
            lines.append(f"best: {row.arm}, {self.metric} {row.value:.4g}: {values}")
        return "\n".join(lines)

    def left(self) -> int:
        return max(self.search.trials - len(self.rows()), 0)

    def watch(self, run: Playing) -> None:
        if self.search.after is not None:
            last = Timetable(run.job.cfg).total
            found = {step: value for step, value in course(run.job).items() if int(step) < last}
            if found != self.judged.get(run.job.directory, {}):
                self.judged[run.job.directory] = found
                run.hopeless = searches.hopeless(self.search, self.rows(), found, self.plan.higher)


def pool_of(plan: Plan, backend: Backend) -> RunPool:
    """The pool that plays what is left of a plan."""
    if isinstance(plan, SuitePlan):
        return SuitePool(plan, backend)
    assert isinstance(plan, SearchPlan)
    return SearchPool(plan, backend)
