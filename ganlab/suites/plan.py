"""The runs of a suite: each is composed, built and refused here, before any of them is played."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlab.checks import check, num_processes, refuse_unused
from ganlab.cli import compose, told
from ganlab.config import build, build_data, chosen
from ganlab.data.base import Data
from ganlab.errors import Refused
from ganlab.metrics.evaluation import Evaluation
from ganlab.stages import Timetable
from ganlab.suites import identity
from ganlab.suites.suite import Arm, Suite

# What a suite decides by itself, so that nobody else's word on it would count.
OWN = ("seed", "run_dir", "resume", "job")


@dataclass(frozen=True)
class Job:
    """One run of a suite: an arm with a seed."""

    arm: str
    seed: int
    overrides: list[str]  # of ganlab.run, without the seed and what is below
    outside: list[str]  # overrides that change no number: paths, hardware, logger
    cfg: DictConfig
    config: str  # hashes
    data: str
    code: str
    output: Path  # where the runs of the suite lie
    names: list[str]  # the suite's metrics in full

    @property
    def directory(self) -> Path:
        """Where it is played; another config, data or code has another place."""
        run = identity.run(self.config, self.seed, self.data, self.code)
        return self.output / f"{self.arm}_seed{self.seed}_{run}"


def plan(
    suite: Suite, only: Sequence[str], root: str | None, extra: Sequence[str], output: Path
) -> list[Job]:
    """All runs of a suite, seed by seed over all arms: where it is cut off, each arm has as many.

    Args:
        suite: as it was read.
        only: the arms that are wanted; none: all.
        root: data.root of all runs; None: as each has it.
        extra: overrides for all runs: paths, hardware, logger.
        output: the folder that all suites' runs lie in.

    Raises:
        Refused: an arm cannot be played as it is, is the same as another, or does not measure what the
            suite asks for; `extra` changes what a run is.
    """
    if unknown := [name for name in only if name not in suite.arms]:
        raise Refused(f"only={unknown[0]} is no arm of {suite.name}: choose from {', '.join(suite.arms)}")
    refuse_own(suite, extra)
    code = identity.code()
    composing(suite.at("base"), suite.base)
    composed = {arm.name: Composed(suite, arm, root, extra) for arm in suite.arms.values()}
    if root is not None and not any(arm.rooted for arm in composed.values()):
        raise Refused(f"root={root} has no say: the data of this suite lie in no folder; leave it out")
    refuse_twins(suite, composed)
    wanted = [arm for name, arm in composed.items() if not only or name in only]
    built: dict[str, tuple[str, list[str]]] = {}
    last: dict[str, Data] = {}  # one set at a time is held in memory
    for arm in sorted(wanted, key=lambda arm: arm.data):
        if arm.data not in last:
            last = {arm.data: saying(suite, arm.name, lambda arm=arm: build_data(copy.deepcopy(arm.cfg)))}  # type: ignore[misc]
        data = last[arm.data]
        built[arm.name] = data.fingerprint()[: identity.SIZE], names(suite, arm, data)
    refuse_unlike(suite, {arm.name: built[arm.name][1] for arm in wanted})
    return [
        Job(
            arm.name,
            seed,
            arm.overrides,
            arm.outside,
            own := arm.of(seed),
            identity.config(own),
            built[arm.name][0],
            code,
            output / suite.name,
            built[arm.name][1],
        )
        for seed in suite.seeds
        for arm in wanted
    ]


class Composed:
    """An arm whose config was composed.

    Raises:
        Refused: an override does not compose, or `extra` changes what the run is.
    """

    def __init__(self, suite: Suite, arm: Arm, root: str | None, extra: Sequence[str]):
        self.name = arm.name
        self.overrides = [*suite.base, *arm.overrides]
        bare = composing(f"{suite.at(f'arms.{arm.name}')}: arm {arm.name}", self.overrides)
        self.rooted = "root" in bare.data
        self.outside = [*([f"data.root={root}"] if root is not None and self.rooted else []), *extra]
        self.config = identity.config(bare)
        self.cfg = bare
        if self.outside:
            self.cfg = composing(f"extra={list(extra)}, arm {arm.name}", [*self.overrides, *self.outside])
        if identity.config(self.cfg) != self.config:
            raise Refused(
                f"extra={list(extra)} changes what the runs of arm {arm.name} are: it is for paths, hardware "
                f"and loggers; what all arms share stands in base of {suite.folder / 'suite.yaml'}"
            )
        # The logger's node is told of the suite, unless somebody has said otherwise.
        node = self.cfg.logger.get("wandb")
        if node is not None:
            told_of = {"group": suite.name, "job_type": arm.name}
            self.outside += [
                f"logger.wandb.{key}={text}" for key, text in told_of.items() if node[key] is None
            ]
        self.data = json.dumps(
            OmegaConf.to_container(self.cfg.data, resolve=True), sort_keys=True, default=str
        )

    def of(self, seed: int) -> DictConfig:
        """Its config with a seed."""
        own = copy.deepcopy(self.cfg)
        own.seed = seed
        return own


def composing(place: str, overrides: Sequence[str]) -> DictConfig:
    """The config of some overrides, refused by the place that they stand at."""
    try:
        cfg = compose(*overrides)
        OmegaConf.to_container(cfg, resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise Refused(f"{place} does not compose: {told(error)}") from error
    return cfg


def saying(suite: Suite, arm: str, make: Callable[[], Any]) -> Any:
    """What is made of an arm; a refusal says whose it is."""
    try:
        return make()
    except Refused as refusal:
        raise Refused(f"{suite.at(f'arms.{arm}')}: arm {arm}: {refusal}") from refusal


def names(suite: Suite, arm: Composed, data: Data) -> list[str]:
    """The full names of the suite's metrics in an arm, which is built once to see that it can be played."""
    evaluation: Evaluation = saying(suite, arm.name, lambda: built(arm, data))
    try:
        return [str(evaluation.monitored(metric)[0]) for metric in suite.metrics]
    except Refused as refusal:
        what = str(refusal).removeprefix("monitor=")
        raise Refused(f"{suite.at('metrics')}: in arm {arm.name} {what}") from refusal


def built(arm: Composed, data: Data) -> Evaluation:
    """Refuses what a run would refuse at its start, and returns what would measure it."""
    cfg = arm.of(0)
    if cfg.data.num_classes is None:
        cfg.data.num_classes = data.num_classes
    refuse_unused(cfg, arm.overrides)
    check(cfg)
    Timetable(cfg).share(data, num_processes(cfg))
    game = build(cfg, data).game
    asked = cfg.evaluation
    evaluation = Evaluation(chosen(cfg, "metric"), data, asked.n, asked.n_real, asked.seed)
    evaluation.suits(game)
    evaluation.monitored(cfg.monitor)
    return evaluation


def refuse_own(suite: Suite, extra: Sequence[str]) -> None:
    """Refuses overrides of what the suite sets for each run: they would be ignored in silence."""
    places = {"base": suite.base} | {f"arms.{name}": arm.overrides for name, arm in suite.arms.items()}
    for place, overrides in places.items():
        for override in overrides:
            if override.lstrip("+~").split("=")[0] in OWN:
                raise Refused(
                    f"{suite.at(place)}: {override} is set for each run (the seeds stand in `seeds`): "
                    "leave it out"
                )
    for override in extra:
        if override.lstrip("+~").split("=")[0] in (*OWN, "init_from", "name"):
            raise Refused(f"extra: {override} is set for each run: leave it out")


def refuse_twins(suite: Suite, arms: dict[str, Composed]) -> None:
    """Refuses two arms of one config."""
    seen: dict[str, str] = {}
    for name, arm in arms.items():
        if arm.config in seen:
            raise Refused(
                f"{suite.at(f'arms.{name}')}: arm {name} has the config of arm {seen[arm.config]}: "
                "change one of them, or leave it out"
            )
        seen[arm.config] = name


def refuse_unlike(suite: Suite, measured: dict[str, list[str]]) -> None:
    """Refuses arms whose numbers have other names, and so do not compare."""
    (first, reference), *others = measured.items()
    for name, found in others:
        for mine, theirs in zip(reference, found, strict=True):
            if mine != theirs:
                raise Refused(
                    f"{suite.at(f'arms.{name}')}: arm {name} measures {theirs}, arm {first} {mine}: "
                    "give all arms the same evaluation"
                )
