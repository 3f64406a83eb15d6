"""The runs of a study: composed, built and refused before the first of them is played."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ganlab.config import identity
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import prefixing_all_keys, require
from ganlab.core.numerics import NUMERICS
from ganlab.filesystem import atomic_writer, config_error_if_unwritable
from ganlab.studies.composition import OWN, Job, compose_job, composed, key
from ganlab.studies.spec import Study, Suite
from ganlab.studies.table import Row, read

if TYPE_CHECKING:
    from ganlab.data.base import Data

Label = tuple[str, int]  # of a run: its arm, which of a search is trial0, trial1, ..., and its seed


class Plan(ABC):
    """The runs of a study, the first ones first, and how they stand in its table.

    `points` are runs that are composed and built before anything is played, by their names.

    Args:
        study: the study.
        points: their names, the keys of the study's file that they come from, and their overrides.
        cfg: the settings in conf/ablate.yaml.

    Raises:
        ConfigError: a point cannot be composed or is the same as another, or a setting has no effect.
    """

    labels: list[Label]  # of all runs
    wanted: tuple[str, Sequence[str]]  # the key of the study's file that names the metrics, and these names
    failures: tuple[str, ...] = ("failed", "diverged")  # the runs that leave the study unfinished

    def __init__(self, study: Study, points: Mapping[str, tuple[str, list[str]]], cfg: DictConfig):
        self.study, self.cfg = study, cfg
        for override in cfg.extra:
            is_own = key(override) in (*OWN, "init_from", "name")
            require(not is_own, f"extra: {override} is set for each run", "remove it")
        self.base = composed(study.at("base"), study.base)
        self.points, twins = dict[str, Job](), dict[str, str]()
        for name, (place, overrides) in points.items():
            self.points[name] = run = compose_job(study, cfg, place, name, overrides)
            twin = twins.setdefault(run.config, name)
            study.require(twin == name, place, f"{name} is the same run as {twin}", "remove one of them")
        self.folder = run.folder
        is_used = cfg.root is None or any("root" in run.cfg.data for run in self.points.values())
        require(is_used, "has no effect: no run of this study reads files", "leave it out", "root", cfg.root)
        self._data: tuple[str, Data] | None = None  # one data set at a time is in memory

    @abstractmethod
    def matches(self, label: Label, row: Row) -> bool:
        """Whether a row is that of a run, whatever its arm and seed."""

    @abstractmethod
    def job(self, label: Label, rows: Sequence[Row]) -> Job:
        """A run to play, after `build`."""

    @abstractmethod
    def kinds(self) -> list[tuple[Job, int]]:
        """Runs to be timed, and the number of open runs that each stands for."""

    def note_end(self, job: Job, row: Row) -> None:  # noqa: B027, a search does nothing
        """Does what is to be done as soon as a run is recorded."""

    def hopeless(self, job: Job) -> str | None:
        """The reason for which a run that is being played is to be ended; None: it goes on."""
        return None

    def rows(self) -> list[Row]:
        return read(self.study.results)

    def row(self, label: Label, rows: Sequence[Row]) -> Row | None:
        """The row of a run that counts; None if it has none."""
        mine = (row for row in rows if (row.arm, row.seed) == label and self.matches(label, row))
        return max(mine, key=lambda row: (row.numerics, row.finished), default=None)

    def counted(self) -> list[Row]:
        """The rows that count."""
        rows = self.rows()
        return [row for label in self.labels if (row := self.row(label, rows)) is not None]

    def open(self, rows: Sequence[Row]) -> list[Label]:
        """The runs to play: those that were not done when the study was built, and are not since."""
        found = {label: self.row(label, rows) for label in self.before}
        return [label for label, row in found.items() if row == self.before[label] or not is_done(row, None)]

    def open_jobs(self) -> Iterator[Job]:
        rows = self.rows()
        return (self.job(label, rows) for label in self.open(rows))

    def left(self) -> int:
        """The number of runs to play."""
        return len(self.open(self.rows()))

    def standings(self) -> list[str]:
        """How each run stands, in lines; needs no `build`, and does not import torch."""
        rows, width, lines = self.rows(), max(len(arm) for arm, _ in self.labels), []
        known = {(row.arm, row.seed) for row in rows}
        for arm, seed in self.labels:
            said = "recorded of another config or of other data; to run" if (arm, seed) in known else "to run"
            if (row := self.row((arm, seed), rows)) is not None:
                stale, again = ", stale" * (row.numerics != NUMERICS), not is_done(row, self.cfg.rerun)
                said = f"{row.status}{stale}{f': {row.reason}' * bool(row.reason)}{', to run again' * again}"
            lines.append(f"  {arm:<{width}}  seed {seed}  {said}")
        return lines

    def results(self) -> list[str]:
        """The mean of the first metric over the seeds of each arm, in lines."""
        values: dict[str, list[float]] = {arm: [] for arm, _ in self.labels}
        for row in self.counted():
            values[row.arm] += [] if row.value is None else [row.value]
        means = {arm: f"{fmean(own):.4g} (n = {len(own)})" for arm, own in values.items() if own}
        return [f"{self.metrics[0]}: " + ", ".join(f"{arm} {mean}" for arm, mean in means.items())]

    def data(self, job: Job) -> Data:
        """The data of a run, which stay in memory until those of another run are wanted."""
        if self._data is None or self._data[0] != job.data_settings:
            from ganlab.config import build  # imports torch

            with prefixing_all_keys(job.place):
                self._data = job.data_settings, build.build_data(copy.deepcopy(job.cfg))
        return self._data[1]

    def with_data(self, job: Job) -> Job:
        return replace(job, data=self.data(job).fingerprint()[: identity.SIZE])

    def build(self) -> None:
        """Builds each point once, and refuses those that cannot be played or are measured unlike others.

        Raises:
            ConfigError: a run cannot be played.
        """
        from ganlab.training.rehearsal import rehearse  # imports torch

        place, metrics = self.wanted
        found: dict[str, list[tuple[str, bool]]] = {}
        for name, job in sorted(self.points.items(), key=lambda pair: pair[1].data_settings):
            self.points[name], cfg = self.with_data(job), copy.deepcopy(job.cfg)
            told = f"{self.study.at(place)}: in {name}"
            found[name] = rehearse(cfg, job.overrides, job.place, self.data(job), metrics, told)
        first, measured = next(iter(found.items()))
        self.metrics, self.higher = [name for name, _ in measured], measured[0][1]
        for name, pairs in found.items():
            mine, theirs = (", ".join(metric for metric, _ in own) for own in (pairs, measured))
            reason = f"{self.points[name].place} measures {mine}, but {first} {theirs}"
            require(pairs == measured, reason, "give all runs the same evaluation")
        rows = self.rows()
        before = {label: self.row(label, rows) for label in self.labels}
        self.before = {label: row for label, row in before.items() if not is_done(row, self.cfg.rerun)}


class SuitePlan(Plan):
    """The runs of a suite, seed by seed over all arms: if it is cut off, each arm has as many.

    `cfg.only` are the arms that are wanted, and `cfg.rerun` the recorded runs that are repeated.
    """

    def __init__(self, suite: Suite, cfg: DictConfig):
        known = f"choose from {', '.join(suite.arms)}"
        for name in cfg.only:
            require(name in suite.arms, f"is no arm of {suite.name}", known, "only", name)
        points = {name: (f"arms.{name}", suite.base + arm.overrides) for name, arm in suite.arms.items()}
        for place, override in ((place, one) for place, overrides in points.values() for one in overrides):
            reason = f"{override} is set for each run (the seeds stand in `seeds`)"
            suite.require(key(override) not in OWN, place, reason, "remove it")
        super().__init__(suite, points, cfg)
        self.suite, self.wanted = suite, ("metrics", suite.metrics)
        self.points = {name: run for name, run in self.points.items() if not cfg.only or name in cfg.only}
        self.labels = [(name, seed) for seed, name in product(suite.seeds, self.points)]

    def matches(self, label: Label, row: Row) -> bool:
        point = self.points[label[0]]
        return row.config == point.config and point.data in ("", row.data)

    def job(self, label: Label, rows: Sequence[Row] = ()) -> Job:
        return replace(self.points[label[0]], seed=label[1])

    def kinds(self) -> list[tuple[Job, int]]:
        count = Counter(arm for arm, _ in self.open(self.rows()))
        return [(self.points[arm], n) for arm, n in count.items()]

    def note_end(self, job: Job, row: Row) -> None:
        """Copies the last picture of the first seed that can finish to the folder of the suite."""
        bad = {row.seed for row in self.counted() if row.arm == job.arm and row.status != "finished"}
        first = next((seed for seed in self.suite.seeds if seed not in bad), None)
        pictures = sorted(RunDirectory(job.directory).samples.glob("*.png"))
        if row.status == "finished" and job.seed == first and pictures:
            place = self.suite.folder / "samples" / f"{job.arm}.png"
            with config_error_if_unwritable(place):
                place.parent.mkdir(exist_ok=True)
                with atomic_writer(place) as file:
                    file.write(pictures[-1].read_bytes())


def is_done(row: Row | None, rerun: str | None) -> bool:
    """Whether there is nothing to play; `rerun` names what is repeated."""
    if row is None or row.status == "interrupted" or (rerun == "stale" and row.numerics != NUMERICS):
        return False
    return rerun != "failed" or row.status == "finished"
