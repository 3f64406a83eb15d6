"""The trials of a sweep: what they have in common is composed, built and refused before one is played."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ganlab.config.stages import Timetable
from ganlab.core.errors import ConfigError, require
from ganlab.data.base import Data
from ganlab.suites import identity
from ganlab.suites.composed import OWN, Composed, composing, key, refuse_extra
from ganlab.suites.plan import Job, job
from ganlab.sweeps.sweep import MOVE_AWAY, Sweep, Tried


class Plan:
    """What is known of all trials, and how one becomes a run.

    Each end of a range and each choice is composed and built once, beside the first of all others.

    Args:
        sweep: as it was read.
        root, extra, output: as `ganlab.suites.plan.plan` takes them.

    Raises:
        ConfigError: a parameter or one of its values cannot be, or changes nothing; the metric is not
            measured; `extra` changes what a run is.
    """

    def __init__(self, sweep: Sweep, root: str | None, extra: Sequence[str], output: Path):
        self.sweep, self.root, self.extra, self.output = sweep, root, extra, output
        # The lower ends of ranges, and the first choices.
        self.first = {name: one.tried[0] for name, one in sweep.parameters.items()}
        self._held: tuple[str, Data] | None = None  # by their settings: one set at a time is in memory
        refuse_own(sweep)
        refuse_extra(extra)
        base = composing(sweep.at("base"), sweep.base)
        self.seed: int = base.seed
        first = self._first()
        unused = f"root={root} has no effect: the data of this sweep lie in no folder; leave it out"
        require(root is None or first.rooted, unused)
        self.name, self.more = self._measured(first)
        self._try_out(first)
        refuse_prune(sweep, first)
        data = self._data(first).fingerprint()
        space = {name: asdict(one) for name, one in sweep.parameters.items()}
        common = [identity.config(base), self.seed, data, self.name, space]
        self.space = identity.short(json.dumps(common).encode())

    @property
    def place(self) -> Path:
        """Where the runs lie."""
        return self.output / self.sweep.name

    @property
    def journal(self) -> Path:
        """Where the search is kept; another space has another place."""
        return self.place / f"{self.space}.journal"

    def job(self, number: int, parameters: Mapping[str, Any]) -> Job:
        """The run of a trial."""
        name = f"trial{number}"
        run = self._composed(name, f"{self.sweep.at('parameters')}: trial {number}", parameters)
        return job(run, self.seed, self._data(run).fingerprint(), [self.name], identity.code(), self.place)

    def refuse_others(self, rows: Sequence[Tried]) -> None:
        """Refuses trials of another sweep, or of what this one was: they do not compare."""
        for row in rows:
            what = "is of another base, metric, data or parameters than sweep.yaml has now"
            require(row.space == self.space, f"{self.sweep.results}: trial {row.trial} {what}: {MOVE_AWAY}")

    def _first(self) -> Composed:
        """The run of the first values; a refusal says with which parameter it begins not to compose."""
        try:
            return self._composed("trial", self.sweep.at("parameters"), self.first)
        except ConfigError:
            overrides = list(self.sweep.base)
            for name, text in self.first.items():
                overrides.append(f"{name}={text}")
                composing(f"{self.sweep.at(f'parameters.{name}')}: {overrides[-1]}", overrides)
            raise

    def _composed(self, name: str, place: str, parameters: Mapping[str, Any]) -> Composed:
        overrides = self.sweep.overrides(parameters)
        return Composed(place, self.sweep.name, name, overrides, self.root, self.extra)

    def _data(self, run: Composed) -> Data:
        if self._held is None or self._held[0] != run.data:
            self._held = run.data, run.built_data()
        return self._held[1]

    def _measured(self, run: Composed) -> tuple[str, bool]:
        """The metric in full, and whether more of it is better; the run is built, to see that it can be."""
        (found,) = run.measured(self._data(run), [self.sweep.metric], f"{self.sweep.at('metric')}:")
        return found

    def _try_out(self, first: Composed) -> None:
        """Refuses values of a parameter that cannot be, or that are the same, or are measured otherwise."""
        for name, one in self.sweep.parameters.items():
            seen = {first.config: one.tried[0]}
            for text in one.tried[1:]:
                place = f"{self.sweep.at(f'parameters.{name}')}: {name}={text}"
                run = self._composed("trial", place, {**self.first, name: text})
                if run.config in seen:
                    raise ConfigError(f"{place} is the same run as {name}={seen[run.config]}: leave one out")
                seen[run.config] = text
                found, _ = self._measured(run)
                reason = f"{place} measures {found}, {name}={one.tried[0]} {self.name}"
                remedy = "numbers that were made unlike do not compare; leave it out"
                require(found == self.name, f"{reason}: {remedy}")


def refuse_own(sweep: Sweep) -> None:
    """Refuses what is set for each run, and what stands in the base and among the parameters."""
    fixed = [name for name in OWN if name != "seed"]
    for override in sweep.base:
        reason = f"{sweep.at('base')}: {override} is set for each run: leave it out"
        require(key(override) not in fixed, reason)
    for name in sweep.parameters:
        place = f"{sweep.at(f'parameters.{name}')}: {name}"
        luck = f"{place} is luck, and no parameter: put one into base, and run the best with others"
        require(name != "seed", luck)
        require(key(name) not in fixed, f"{place} is set for each run: leave it out")
        if twice := [override for override in sweep.base if override.split("=")[0] == name]:
            raise ConfigError(f"{place} stands in base too, as {twice[0]}: leave one of them out")


def refuse_prune(sweep: Sweep, run: Composed) -> None:
    """Refuses an end of hopeless runs that could never come."""
    if sweep.after is None:
        return
    every, total = run.cfg.evaluate_every, Timetable(run.cfg).total
    idle = f"{sweep.at('prune')}: prune has no effect: with evaluate_every={every} nothing is measured"
    when = f"between round {sweep.after} and the last, {total}; put a smaller evaluate_every into base"
    require(max(every, -(-sweep.after // every) * every) < total, f"{idle} {when}")
