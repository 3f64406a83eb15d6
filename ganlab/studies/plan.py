"""The runs of a study: composed, built and refused before the first of them is played."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganlab.config import identity
from ganlab.core.errors import require
from ganlab.studies.composition import OWN, Composed, Job, composed, key
from ganlab.studies.spec import Search, Study, Suite
from ganlab.studies.status import Status, status
from ganlab.studies.table import Row, read

if TYPE_CHECKING:
    from ganlab.data.base import Data


class Plan(ABC):
    """What the plans of suites and of searches have in common.

    `points` are configs that are composed and built before anything is played, by their labels.

    Args:
        study: the study.
        points: their labels, the keys of the study's file that they come from, and their overrides.
        root: data.root of all runs; None: as each config has it.
        extra: overrides of all runs that change no result: paths, hardware, logger.
        output: the folder of the runs of all studies.

    Raises:
        ConfigError: a point cannot be composed or is the same as another, or a setting has no effect.
    """

    def __init__(
        self, study: Study, points: Mapping[str, tuple[str, Sequence[str]]],
        root: str | None, extra: Sequence[str], output: Path,
    ):  # fmt: skip
        self.study, self.root, self.extra = study, root, list(extra)
        self.folder = output.expanduser().resolve() / study.name
        for override in extra:
            is_own = key(override) in (*OWN, "init_from", "name")
            require(not is_own, f"extra: {override} is set for each run", "remove it")
        self.base = composed(study.at("base"), study.base)
        self.keys = {label: place for label, (place, _) in points.items()}
        self.points: dict[str, Composed] = {}
        twins: dict[str, str] = {}
        for label, (place, overrides) in points.items():
            self.points[label] = run = self.compose(f"{study.at(place)}: {label}", label, overrides)
            twin = twins.setdefault(run.config, label)
            study.require(twin == label, place, f"{label} is the same run as {twin}", "remove one of them")
        reason, reads_files = "has no effect: no run of this study reads files", self.points.values()
        is_used = root is None or any(run.reads_files for run in reads_files)
        require(is_used, reason, "leave it out", "root", root)
        self._data: tuple[str, Data] | None = None  # one data set at a time is in memory

    size: int  # the number of runs

    def compose(self, place: str, name: str, overrides: Sequence[str]) -> Composed:
        return Composed(place, self.study.name, name, overrides, self.root, self.extra)

    def data(self, run: Composed) -> Data:
        if self._data is None or self._data[0] != run.data_settings:
            self._data = run.data_settings, run.build_data()
        return self._data[1]

    def rows(self) -> list[Row]:
        return read(self.study.results)

    def build_points(self, metrics: Sequence[str], place: str) -> None:
        """Builds each point once, and refuses those that cannot be played or are measured unlike others.

        Args:
            metrics: the metrics of the study.
            place: the key of the study's file that names them.
        """
        self.fingerprints: dict[str, str] = {}
        names: dict[str, list[str]] = {}
        for label, run in sorted(self.points.items(), key=lambda pair: pair[1].data_settings):
            data = self.data(run)
            self.fingerprints[label] = data.fingerprint()[: identity.SIZE]
            found = run.measured(data, metrics, f"{self.study.at(place)}: in {label}")
            names[label], self.higher = [name for name, _ in found], found[0][1]
        first, self.metrics = next(iter(names.items()))
        for label, others in names.items():
            reason = f"{label} measures {', '.join(others)}, but {first} {', '.join(self.metrics)}"
            is_alike = others == self.metrics
            self.study.require(is_alike, self.keys[label], reason, "give all runs the same evaluation")

    def job(self, name: str, seed: int, run: Composed, data: str, **of_trial: Any) -> Job:
        own = run.with_seed(seed), run.config, data, identity.code(), self.folder, self.metrics
        return Job(name, seed, run.overrides, run.outside, *own, **of_trial)

    @abstractmethod
    def build(self) -> None:
        """Builds what is to be played, and refuses what cannot be played. Raises `ConfigError`."""

    @abstractmethod
    def standings(self) -> list[str]:
        """How each run stands, in lines; needs no `build`, and does not import torch."""

    @abstractmethod
    def left(self) -> list[tuple[Job, int]]:
        """Runs to be timed, and the number of runs left that each stands for."""


class SuitePlan(Plan):
    """The runs of a suite, seed by seed over all arms: if it is cut off, each arm has as many.

    Args:
        only: the arms that are wanted; none: all.
        rerun: which recorded runs are repeated: stale or failed; None: none.
        common: root, extra and output, as `Plan` takes them.
    """

    def __init__(self, suite: Suite, only: Sequence[str], rerun: str | None, *common: Any):
        known = f"choose from {', '.join(suite.arms)}"
        for name in only:
            require(name in suite.arms, f"is no arm of {suite.name}", known, "only", name)
        points = {name: (f"arms.{name}", suite.base + arm.overrides) for name, arm in suite.arms.items()}
        for place, override in ((place, one) for place, overrides in points.values() for one in overrides):
            reason = f"{override} is set for each run (the seeds stand in `seeds`)"
            suite.require(key(override) not in OWN, place, reason, "remove it")
        super().__init__(suite, points, *common)
        self.suite, self.rerun, self.jobs = suite, rerun, list[Job]()
        self.points = {name: run for name, run in self.points.items() if not only or name in only}
        self.size = len(self.points) * len(suite.seeds)

    def build(self) -> None:
        self.build_points(self.suite.metrics, "metrics")
        runs = product(self.suite.seeds, self.points.items())
        self.jobs = [self.job(name, seed, run, self.fingerprints[name]) for seed, (name, run) in runs]

    def status(self, job: Job, rows: Sequence[Row]) -> Status:
        return status(rows, job.arm, job.seed, job.config, job.data)

    def standings(self) -> list[str]:
        rows, width = self.rows(), max(map(len, self.points))
        lines = []
        for seed, (name, run) in product(self.suite.seeds, self.points.items()):
            found = status(rows, name, seed, run.config, None)
            again = ", to run again" if found.row is not None and not found.is_done(self.rerun) else ""
            lines.append(f"  {name:<{width}}  seed {seed}  {found.describe()}{again}")
        return lines

    def left(self) -> list[tuple[Job, int]]:
        rows = self.rows()
        left = [job for job in self.jobs if not self.status(job, rows).is_done(self.rerun)]
        count = Counter(job.arm for job in left)
        return [(next(job for job in left if job.arm == arm), n) for arm, n in count.items()]


class SearchPlan(Plan):
    """The trials of a search: each end of a range and each choice is a point, beside the first of the others.

    Args:
        common: root, extra and output, as `Plan` takes them.
    """

    def __init__(self, search: Search, *common: Any):
        from ganlab.studies.search import ends

        refuse_own(search)
        first = {name: ends(one)[0] for name, one in search.parameters.items()}
        points = {"the first trial": ("parameters", search.overrides(first))}
        for name, one in search.parameters.items():
            for value in ends(one)[1:]:
                points[f"{name}={value}"] = f"parameters.{name}", search.overrides({**first, name: value})
        super().__init__(search, points, *common)
        self.search, self.size, self.space = search, search.trials, ""

    def build(self) -> None:
        self.build_points([self.search.metric], "metric")
        first = self.points["the first trial"]
        refuse_idle_prune(self.search, first)
        ranges = {name: repr(one) for name, one in self.search.parameters.items()}
        data = self.fingerprints["the first trial"]
        common = [identity.config(self.base), self.base.seed, data, self.metrics, ranges]
        self.space = identity.short(json.dumps(common).encode())

    def trial(self, number: int, parameters: Mapping[str, Any]) -> Job:
        """The run of a trial."""
        name, place = f"trial{number}", f"{self.search.at('parameters')}: trial {number}"
        run = self.compose(place, name, self.search.overrides(parameters))
        data = self.data(run).fingerprint()[: identity.SIZE]
        return self.job(name, self.base.seed, run, data, parameters=dict(parameters), space=self.space)

    def standings(self) -> list[str]:
        rows = [row for row in self.rows() if row.status != "interrupted"]
        lines = [f"  {row.arm}  {row.status}  {row.reason or row.value}" for row in rows]
        return [*lines, f"  {self.size - len(rows)} of {self.size} trials to play"]

    def left(self) -> list[tuple[Job, int]]:
        from ganlab.studies.search import middle

        job = self.trial(0, {name: middle(one) for name, one in self.search.parameters.items()})
        left = self.size - sum(row.status != "interrupted" for row in self.rows())
        return [(job, left)] if left > 0 else []


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


def refuse_idle_prune(search: Search, run: Composed) -> None:
    """Refuses pruning that could never happen."""
    from ganlab.config.stages import Timetable

    if search.after is not None:
        every, total = run.cfg.evaluate_every, Timetable(run.cfg).total
        reason = f"prune has no effect: with evaluate_every={every} nothing is measured between step"
        span = f"{search.after} and the last, {total}"
        is_used = max(every, -(-search.after // every) * every) < total
        search.require(is_used, "prune", f"{reason} {span}", "put a smaller evaluate_every into base")
