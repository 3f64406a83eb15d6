"""The trials of a search before they are played: what can be refused early, and what comes next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ganlab.config import identity
from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.studies import search as searches
from ganlab.studies.composition import OWN, Job, compose_job, key
from ganlab.studies.plan import Label, Plan, is_done
from ganlab.studies.spec import Search
from ganlab.studies.table import Row, course

FIRST = "the first trial"


class SearchPlan(Plan):
    """The trials of a search: each end of a range and each choice is a point, beside the first of the others.

    Workers share the trials: what a trial tries stands in its directory as soon as it is drawn. A trial that
    fails or diverges is a result: the search learns from it.
    """

    failures = ()

    def __init__(self, search: Search, cfg: DictConfig):
        refuse_own(search)
        ends = {name: searches.ends(one) for name, one in search.parameters.items()}
        first = {name: values[0] for name, values in ends.items()}
        points = {FIRST: ("parameters", search.overrides(first))}
        for name, values in ends.items():
            for value in values[1:]:
                points[f"{name}={value}"] = f"parameters.{name}", search.overrides({**first, name: value})
        super().__init__(search, points, cfg)
        self.wanted = "metric", [search.metric]
        self.search, self.space = search, ""
        self.labels = [(f"trial{number}", self.base.seed) for number in range(search.trials)]
        self.drawn: dict[Label, Job] = {}
        self.judged: dict[Path, int] = {}  # when the metrics of each run changed that were judged last

    def build(self) -> None:
        super().build()
        refuse_idle_prune(self.search, self.points[FIRST])
        ranges = {name: repr(one) for name, one in self.search.parameters.items()}
        common = [identity.config(self.base), self.base.seed, self.points[FIRST].data, self.metrics, ranges]
        self.space = identity.short(json.dumps(common).encode())
        searches.refuse_others(self.search, self.space, (row for row in self.rows() if is_done(row, None)))

    def matches(self, label: Label, row: Row) -> bool:
        return self.space in ("", row.space)

    def trial(self, number: int, parameters: Mapping[str, Any]) -> Job:
        """The run of a trial."""
        overrides = self.search.overrides(parameters)
        job = compose_job(self.search, self.cfg, "parameters", f"trial{number}", overrides)
        return replace(self.with_data(job), parameters=dict(parameters), space=self.space)

    def job(self, label: Label, rows: Sequence[Row]) -> Job:
        """The run of a trial, as any worker has drawn it, or as it is drawn now."""
        if label not in self.drawn:
            number = self.labels.index(label)
            found = (RunDirectory(path).summary() for path in self.folder.glob(f"{label[0]}_seed*/"))
            mine = [one["parameters"] for one in found if one.get("space") == self.space]
            tried = mine[0] if mine else searches.suggested(self.search, rows, number, self.higher)
            self.drawn[label] = job = self.trial(number, tried)
            if not mine:
                job.directory.mkdir(parents=True, exist_ok=True)
                RunDirectory(job.directory).write_summary(parameters=tried, space=self.space)
        return self.drawn[label]

    def results(self) -> list[str]:
        """How many trials ended in which way, and the best, in lines."""
        rows = self.counted()
        lines = [", ".join(f"{n} {kind}" for kind, n in Counter(row.status for row in rows).items())]
        for row in searches.best(rows, self.higher)[:1]:
            values = "  ".join(f"{name}={value}" for name, value in row.parameters.items())
            lines.append(f"best: {row.arm}, {self.metrics[0]} {row.value:.4g}: {values}")
        return lines

    def kinds(self) -> list[tuple[Job, int]]:
        usual = {name: searches.middle(one) for name, one in self.search.parameters.items()}
        return [(self.trial(0, usual), self.left())] if self.left() else []

    def hopeless(self, job: Job) -> str | None:
        if self.search.after is None:
            return None
        file = RunDirectory(job.directory).metrics
        changed = file.stat().st_mtime_ns if file.is_file() else 0
        if changed == self.judged.get(job.directory, 0):
            return None
        self.judged[job.directory] = changed
        last, all_of_it = Timetable(job.cfg).total, course(job, self.metrics[0])
        found = {step: value for step, value in all_of_it.items() if int(step) < last}
        return searches.hopeless(self.search, self.rows(), found, self.higher)


def refuse_own(search: Search) -> None:
    """Refuses what is set for each run, and what stands in the base and among the parameters."""
    base = {key(override): override for override in search.base}
    for name, override in base.items():
        is_own = name in OWN and name != "seed"
        search.require(not is_own, "base", f"{override} is set for each run", "remove it")
    for name in search.parameters:
        place, remedy = f"parameters.{name}", "put one into base, and run the best with others"
        search.require(name != "seed", place, "seed is luck, and no parameter", remedy)
        search.require(key(name) not in OWN, place, f"{name} is set for each run", "remove it")
        reason = f"{name} stands in base too, as {base.get(name)}"
        search.require(name not in base, place, reason, "remove one of them")


def refuse_idle_prune(search: Search, run: Job) -> None:
    """Refuses pruning that could never happen."""
    if search.after is not None:
        every, total = run.cfg.evaluate_every, Timetable(run.cfg).total
        reason = f"prune has no effect: with evaluate_every={every} nothing is measured between step"
        span = f"{search.after} and the last, {total}"
        is_used = max(every, -(-search.after // every) * every) < total
        search.require(is_used, "prune", f"{reason} {span}", "put a smaller evaluate_every into base")
