"""The runs of a suite: each is composed, built and refused here, before any of them is played."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from ganlab.core.errors import ConfigError, require
from ganlab.core.numerics import NUMERICS
from ganlab.data.base import Data
from ganlab.suites import identity
from ganlab.suites.composed import OWN, Composed, composing, key, refuse_extra
from ganlab.suites.suite import Suite


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
        """Where it is played; another config, other data or other numerics have another place."""
        run = f"{self.config} {self.seed} {self.data} {NUMERICS}"
        return self.output / f"{self.arm}_seed{self.seed}_{identity.short(run.encode())}"


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
        ConfigError: an arm cannot be played as it is, is the same as another, or does not measure what the
            suite asks for; `extra` changes what a run is.
    """
    if unknown := [name for name in only if name not in suite.arms]:
        raise ConfigError(f"only={unknown[0]} is no arm of {suite.name}: choose from {', '.join(suite.arms)}")
    refuse_own(suite)
    refuse_extra(extra)
    code = identity.code()
    composing(suite.at("base"), suite.base)
    composed = {}
    for name, arm in suite.arms.items():
        place = f"{suite.at(f'arms.{name}')}: arm {name}"
        composed[name] = Composed(place, suite.name, name, suite.base + arm.overrides, root, extra)
    if root is not None and not any(run.rooted for run in composed.values()):
        raise ConfigError(f"root={root} has no effect: the data of this suite lie in no folder; leave it out")
    refuse_twins(suite, composed)
    wanted = [run for name, run in composed.items() if not only or name in only]
    built: dict[str, tuple[str, list[str]]] = {}
    last: dict[str, Data] = {}  # one set at a time is held in memory
    for run in sorted(wanted, key=lambda run: run.data):
        if run.data not in last:
            last = {run.data: run.built_data()}
        data, place = last[run.data], f"{suite.at('metrics')}: in arm {run.name}"
        built[run.name] = data.fingerprint(), [name for name, _ in run.measured(data, suite.metrics, place)]
    refuse_unlike(suite, {run.name: built[run.name][1] for run in wanted})
    return [job(run, n, *built[run.name], code, output / suite.name) for n in suite.seeds for run in wanted]


def job(run: Composed, seed: int, data: str, names: list[str], code: str, output: Path) -> Job:
    """A run with a seed, on data of a fingerprint."""
    config = run.config
    data = data[: identity.SIZE]
    return Job(run.name, seed, run.overrides, run.outside, run.of(seed), config, data, code, output, names)


def refuse_own(suite: Suite) -> None:
    """Refuses overrides of what the suite sets for each run: they would be ignored in silence."""
    places = {"base": suite.base} | {f"arms.{name}": arm.overrides for name, arm in suite.arms.items()}
    for place, overrides in places.items():
        for override in overrides:
            reason = f"{override} is set for each run (the seeds stand in `seeds`): leave it out"
            require(key(override) not in OWN, f"{suite.at(place)}: {reason}")


def refuse_twins(suite: Suite, arms: dict[str, Composed]) -> None:
    """Refuses two arms of one config."""
    seen: dict[str, str] = {}
    for name, arm in arms.items():
        twin = seen.setdefault(arm.config, name)
        reason = f"{suite.at(f'arms.{name}')}: arm {name} has the config of arm {twin}"
        require(twin == name, f"{reason}: change one of them, or leave it out")


def refuse_unlike(suite: Suite, measured: dict[str, list[str]]) -> None:
    """Refuses arms whose numbers have other names, and so do not compare."""
    (first, reference), *others = measured.items()
    for name, found in others:
        for mine, theirs in zip(reference, found, strict=True):
            reason = f"{suite.at(f'arms.{name}')}: arm {name} measures {theirs}, arm {first} {mine}"
            require(mine == theirs, f"{reason}: give all arms the same evaluation")
