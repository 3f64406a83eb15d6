"""The runs of a study: composed, built and refused before the first of them is played."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, product
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlab.config import identity
from ganlab.config.compose import compose, user_message
from ganlab.config.overrides import quote
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError, prefixing_all_keys, require
from ganlab.core.numerics import NUMERICS
from ganlab.filesystem import atomic_writer, config_error_if_unwritable
from ganlab.studies.spec import OWN, Suite, refuse_own
from ganlab.studies.table import Label, Row, latest, read


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a study. `place` is where its overrides are written, the beginning of refusals."""

    arm: str
    seed: int
    overrides: list[str]  # of ganlab.run, without the seed
    outside: list[str]  # overrides that change no result: paths, hardware, logger
    place: str
    cfg: DictConfig
    config: str  # hashes
    data: str = ""  # empty until the data are built
    directory: Path = Path()
    parameters: dict[str, Any] = field(default_factory=dict)
    space: str = ""

    @property
    def log(self) -> Path:
        """The output of the run, beside its directory."""
        return Path(f"{self.directory}.log")


class Plan:
    """The runs of a suite, seed by seed over all arms: if it is cut off, each arm has as many.

    `points` are the runs that are composed and built before anything is played, of any seed.

    Args:
        study: a suite; of the plan of a search, the search.
        cfg: the settings in conf/ablate.yaml.

    Raises:
        ConfigError: a point cannot be composed or is the same as another, or a setting has no effect.
    """

    failures: tuple[str, ...] = ("failed", "diverged")  # the runs that leave the study unfinished

    def __init__(self, study: Any, cfg: DictConfig):
        self.study, self.cfg = study, cfg
        refuse_own(cfg.extra, "extra", (*OWN, "init_from", "name"))
        self.base = composed(study.at("base"), study.base)
        self.folder = Path(cfg.output).expanduser().resolve() / study.name
        self.points, twins = dict[str, Job](), dict[str, str]()
        for name, key, overrides in self.all_points():
            self.points[name] = point = self.point(name, key, overrides)
            twin = twins.setdefault(point.config, name)
            require(twin == name, f"{name} is the same run as {twin}", "remove one of them", study.at(key))
        is_used = cfg.root is None or any("root" in point.cfg.data for point in self.points.values())
        require(is_used, "has no effect: no run of this study reads files", "leave it out", "root", cfg.root)
        for name in cfg.only:
            known = f"choose from {', '.join(self.points)}"
            require(name in self.points, f"is no arm of {study.name}", known, "only", name)
        self.points = {name: self.points[name] for name in self.points if name in (cfg.only or self.points)}
        self.labels = self.all_labels()

    def all_points(self) -> Iterator[tuple[str, str, list[str]]]:
        """Names of points, the keys of the study's file that they come from, and their overrides."""
        for name, arm in self.study.arms.items():
            yield name, f"arms.{name}", self.study.base + arm.overrides

    def all_labels(self) -> list[Label]:
        return [(arm, seed) for seed, arm in product(self.study.seeds, self.points)]

    def point(self, arm: str, key: str, overrides: list[str]) -> Job:
        """A run as its overrides say, with the settings `root` and `extra`, without its directory."""
        place, root, extra = f"{self.study.at(key)}: {arm}", self.cfg.root, list(self.cfg.extra)
        cfg = bare = composed(place, overrides)
        outside = [*extra] if root is None or "root" not in bare.data else [f"data.root={root}", *extra]
        if outside:
            cfg = composed(f"extra={extra}, {place}", [*overrides, *outside])
        config, reason = identity.config(bare), f"extra={extra} changes what the runs are ({place})"
        remedy = "it is for paths, hardware and loggers; what all runs share stands in base"
        require(identity.config(cfg) == config, reason, remedy)
        for name, text in {"group": self.study.name, "job_type": arm}.items():
            if "wandb" in cfg.logger and cfg.logger.wandb[name] is None:
                outside.append(f"logger.wandb.{name}={quote(text)}")
        return Job(
            arm=arm, seed=cfg.seed, overrides=overrides, outside=outside, place=place, cfg=cfg, config=config
        )

    def identity(self, arm: str) -> tuple[str, str]:
        """The hashes of the config and the data that all rows of an arm have; empty: any."""
        return self.points[arm].config, self.points[arm].data

    def directory(self, label: Label) -> Path:
        """The directory of a run; a run of another config, data or numerics has another one."""
        (arm, seed), (config, data) = label, self.identity(label[0])
        run = f"{config} {seed} {data} {NUMERICS}"
        return self.folder / f"{arm}_seed{seed}_{identity.short(run.encode())}"

    def job(self, label: Label) -> Job:
        """A run to play; the study is built, and the directory of the run is locked."""
        return replace(self.points[label[0]], seed=label[1], directory=self.directory(label))

    def hopeless(self, job: Job) -> str | None:
        """The reason for which a run that is being played is to be ended; None: it goes on."""
        return None

    def standing(self) -> dict[Label, Row | None]:
        """The row of each run that counts; None if it has none."""
        arms = {arm: self.identity(arm) for arm, _ in self.labels}
        rows = [(row, *arms[row.arm]) for row in read(self.study.results) if row.arm in arms]
        found = latest(row for row, config, data in rows
                       if config in ("", row.space or row.config) and data in ("", row.data))  # fmt: skip
        return {label: found.get(label) for label in self.labels}

    def rows(self) -> list[Row]:
        """The rows that count."""
        return [row for row in self.standing().values() if row is not None]

    def open(self) -> list[Label]:
        """The runs to play: those that were not done when the study was built, and are not since."""
        now, before = self.standing(), self.before.items()
        return [label for label, row in before if now[label] == row or not is_done(now[label], None)]

    def told(self) -> list[str]:
        """How each run stands, in lines; needs no `build`, and does not import torch."""
        known = latest(read(self.study.results))
        width, lines = max(len(arm) for arm, _ in self.labels), []
        for label, row in self.standing().items():
            words = ["recorded of another config or of other data" * (label in known), "to run"]
            if row is not None:
                again = not is_done(row, self.cfg.rerun)
                words = [row.status, "stale" * (row.numerics != NUMERICS), row.reason, "to run again" * again]
            lines.append(f"  {label[0]:<{width}}  seed {label[1]}  {', '.join(filter(None, words))}")
        return lines

    def build(self) -> None:
        """Builds each point once, and refuses those that cannot be played or are measured unlike others.

        Raises:
            ConfigError: a run cannot be played.
        """
        from ganlab.config.build import build_data  # imports torch
        from ganlab.training.rehearsal import rehearse

        place, first = self.study.at("metrics" if isinstance(self.study, Suite) else "metric"), ""
        for _, jobs in groupby(sorted(self.points.values(), key=data_settings), data_settings):
            data = None  # one data set at a time is in memory
            for job in jobs:
                with prefixing_all_keys(job.place):
                    data = data or build_data(copy.deepcopy(job.cfg))
                cfg, told = copy.deepcopy(job.cfg), f"{place}: in {job.arm}"
                found = rehearse(cfg, job.overrides, job.place, data, self.study.metrics, told)
                if not first:
                    first, expected = job.arm, found
                mine, theirs = (", ".join(name for name, _ in pairs) for pairs in (found, expected))
                reason = f"{job.place} measures {mine}, but {first} {theirs}"
                require(found == expected, reason, "give all runs the same evaluation")
                self.points[job.arm] = replace(job, data=data.fingerprint()[: identity.SIZE])
        self.metrics, self.higher = [name for name, _ in expected], expected[0][1]
        before = self.standing().items()
        self.before = {label: row for label, row in before if not is_done(row, self.cfg.rerun)}

    def keep_picture(self, job: Job) -> None:
        """Copies the last picture of the first seed that has finished to the folder of the suite."""
        finished = [row.seed for row in self.rows() if row.arm == job.arm and row.status == "finished"]
        pictures = sorted(RunDirectory(job.directory).samples.glob("*.png"))
        if pictures and finished[:1] == [job.seed] and isinstance(self.study, Suite):
            place = self.study.folder / "samples" / f"{job.arm}.png"
            with config_error_if_unwritable(place):
                place.parent.mkdir(exist_ok=True)
                with atomic_writer(place) as file:
                    file.write(pictures[-1].read_bytes())


def data_settings(job: Job) -> str:
    """The same for runs of the same data."""
    return json.dumps(OmegaConf.to_container(job.cfg.data, resolve=True), sort_keys=True, default=str)


def composed(place: str, overrides: Sequence[str]) -> DictConfig:
    """The config of overrides; refusals begin with their place."""
    try:
        cfg = compose(*overrides)
        OmegaConf.to_container(cfg, resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{place} does not compose: {user_message(error)}") from error
    return cfg


def is_done(row: Row | None, rerun: str | None) -> bool:
    """Whether there is nothing to play; `rerun` names what is repeated."""
    if row is None or row.status == "interrupted" or (rerun == "stale" and row.numerics != NUMERICS):
        return False
    return rerun != "failed" or row.status == "finished"
