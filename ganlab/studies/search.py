"""The runs of a search: what it tries next, and which runs are hopeless, as optuna decides."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from ganlab.config import identity
from ganlab.config.overrides import PARSER
from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import is_integer
from ganlab.filesystem import config_error_if_unwritable
from ganlab.studies.plan import Job, Plan, is_done
from ganlab.studies.spec import Search
from ganlab.studies.table import Label, Row, course, read

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
FIRST = "the first trial"
MOVE_AWAY = "give what was changed a folder of its own, or move results.csv away"
RANGES = "write interval(low, high), tag(log, interval(low, high)), range(...) or choice(...)"


class SearchPlan(Plan):
    """The trials of a search: each end of a range and each choice is a point, beside the first of the others.

    Workers share the trials: what a trial tries stands in its directory as soon as it is drawn. A trial that
    fails or diverges is a result: the search learns from it.
    """

    failures = ()
    space = ""  # the hash of what all trials have in common; empty until they are built

    def __init__(self, search: Search, cfg: DictConfig):
        super().__init__(search, cfg)
        self.judged: dict[Path, int] = {}  # when the metrics changed that were judged
        if search.prune is not None:
            run, after = self.points[FIRST].cfg, search.prune["after"]
            every, total = run.evaluate_every, Timetable(run).total
            reason = f"prune has no effect: with evaluate_every={every} nothing is measured between step"
            is_used = max(every, -(-after // every) * every) < total
            remedy = "put a smaller evaluate_every into base"
            require(is_used, f"{reason} {after} and the last, {total}", remedy, search.at("prune"))

    def all_points(self) -> Iterator[tuple[str, str, list[str]]]:
        first = {name: ends(one)[0] for name, one in self.study.parameters.items()}
        yield FIRST, "parameters", self.study.overrides(first)
        for name, one in self.study.parameters.items():
            for value in ends(one)[1:]:
                yield f"{name}={value}", f"parameters.{name}", self.study.overrides({**first, name: value})

    def all_labels(self) -> list[Label]:
        return [(f"trial{number}", self.base.seed) for number in range(self.study.trials)]

    def build(self) -> None:
        super().build()
        ranges = {name: repr(one) for name, one in self.study.parameters.items()}
        common = [identity.config(self.base), self.base.seed, self.points[FIRST].data, self.metrics, ranges]
        self.space = identity.short(json.dumps(common).encode())
        other = "is of another base, metric, data or parameters than sweep.yaml has now"
        for row in read(self.study.results):
            is_same = row.space == self.space or not is_done(row, None)
            which = f"{self.study.results}: trial {number_of(row)}"
            require(is_same, f"{which} {other}", MOVE_AWAY)

    def identity(self, arm: str) -> tuple[str, str]:
        return self.space, ""

    def trial(self, arm: str, parameters: Mapping[str, Any]) -> Job:
        """The run of a trial, without its directory."""
        job = self.point(arm, "parameters", self.study.overrides(parameters))
        return replace(job, parameters=dict(parameters), space=self.space)

    def job(self, label: Label) -> Job:
        """The run of a trial, as any worker has drawn it, or as it is drawn now."""
        directory, rows = self.directory(label), read(self.study.results)
        tried = RunDirectory(directory).summary().get("parameters")
        if tried is None:
            tried = suggested(self.study, rows, self.labels.index(label), self.higher)
        return replace(self.trial(label[0], tried), directory=directory)

    def hopeless(self, job: Job) -> str | None:
        file = RunDirectory(job.directory).metrics
        changed = file.stat().st_mtime_ns if self.study.prune and file.is_file() else 0
        if changed == self.judged.get(job.directory, 0):
            return None
        self.judged[job.directory] = changed
        last, all_of_it = Timetable(job.cfg).total, course(job.directory, self.metrics[0])
        found = {step: value for step, value in all_of_it.items() if int(step) < last}
        return hopeless(self.study, read(self.study.results), found, self.higher)


def distribution(text: str) -> Distribution:
    """The values of a parameter, from Hydra's grammar of sweeps.

    Raises:
        ConfigError: the text is no range and no choice, or an empty one.
    """
    try:
        override = PARSER.parse_override(f"key={text}")
    except HydraException as error:
        raise ConfigError(f"{text!s:.80} cannot be parsed", RANGES) from error
    sweep: Any = override.value()
    if isinstance(sweep, ChoiceSweep):
        # The texts as they stand behind the equals sign of an override.
        texts = [override._get_value_element_as_str(value) for value in sweep.list]
        require(len(set(texts)) == max(len(texts), 2), "a choice needs two values or more, each once", RANGES)
        return CategoricalDistribution(texts)
    is_range = isinstance(sweep, IntervalSweep | RangeSweep) and not getattr(sweep, "shuffle", False)
    require(is_range, f"{text!s:.80} is no range and no choice", RANGES)
    low: Any = sweep.start
    high: Any = sweep.end if isinstance(sweep, IntervalSweep) else sweep.stop
    step, log = getattr(sweep, "step", None), "log" in sweep.tags
    if isinstance(sweep, RangeSweep) and step and step > 0:  # `stop` is exclusive, as in Python
        high = low + (math.ceil((high - low) / step - 1e-9) - 1) * step
    is_filled = all(map(math.isfinite, (low, high))) and low < high and (step is None or step > 0)
    require(is_filled, f"{text} has no values: its end must be above its beginning", RANGES)
    is_ratio = not log or (low > 0 and not step)
    require(is_ratio, f"{text}: a logarithmic range begins above 0, and has no step", RANGES)
    if "int" in sweep.tags or all(map(is_integer, (low, high, step or 1))):
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


def ends(one: Distribution) -> list[Any]:
    """The values that are composed and built before anything runs: the ends of a range, or all choices."""
    return list(one.choices) if isinstance(one, CategoricalDistribution) else [one.low, one.high]


def suggested(search: Search, rows: Iterable[Row], number: int, higher: bool) -> dict[str, Any]:
    """What a trial tries, drawn by TPE from the trials that have ended, with a seed of its own number."""
    seed = np.random.SeedSequence([search.seed, number]).generate_state(1)[0]
    study = study_of(search, rows, higher)
    study.sampler = TPESampler(seed=int(seed))
    return study.ask(dict(search.parameters)).params


def hopeless(search: Search, rows: Iterable[Row], course: Mapping[str, float], higher: bool) -> str | None:
    """The reason why a running trial is to be ended after its last evaluation; None if it is not."""
    if search.prune is None or not course:
        return None
    study = study_of(search, rows, higher)
    study.pruner = MedianPruner(n_warmup_steps=search.prune["after"])
    trial = study.ask()
    for step, value in course.items():
        trial.report(value, int(step))
    last = max(course, key=int)
    worse = f"{course[last]:.4g} after {int(last):,} steps is worse than the median"
    return worse if trial.should_prune() else None


def study_of(search: Search, rows: Iterable[Row], higher: bool) -> optuna.Study:
    """An optuna study in memory of the trials that have ended. The run directories are the only record."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=search.name, direction="maximize" if higher else "minimize")
    for row in sorted(rows, key=number_of):
        if row.status != "interrupted":
            # A trial that diverged is learned from, as pruned ones are.
            ended = TrialState.PRUNED if judged(row) is None else TrialState.COMPLETE
            study.add_trial(create_trial(
                state=TrialState.FAIL if row.status == "failed" else ended,
                value=judged(row), params=row.parameters, distributions=dict(search.parameters),
                intermediate_values={int(step): value for step, value in row.course.items()},
            ))  # fmt: skip
    return study


def number_of(row: Row) -> int:
    """The number of the trial of a row."""
    digits = row.arm.removeprefix("trial")
    is_trial = digits.isdecimal()
    require(is_trial, f"results.csv has the arm {row.arm}, which is no trial of a search", MOVE_AWAY)
    return int(digits)


def judged(row: Row) -> float | None:
    """The value of a trial, if it can be compared."""
    known = row.status == "finished" and row.value is not None and math.isfinite(row.value)
    return row.value if known else None


def best(rows: Iterable[Row], higher: bool) -> list[Row]:
    """The trials that have a value, the best first."""
    valued = [row for row in rows if judged(row) is not None]
    return sorted(valued, key=lambda row: row.value or 0.0, reverse=higher)


def write_wandb_sweep(plan: Plan) -> str:
    """Writes wandb.yaml, by which agents of W&B play a search, and returns what to do with it."""
    search, place = plan.study, plan.study.folder / "wandb.yaml"
    root = [] if plan.cfg.root is None else [f"data.root={plan.cfg.root}"]
    overrides = [*search.base, *root, *plan.cfg.extra]
    content = {
        "name": search.name,
        "description": search.question,
        "program": "ganlab.run",
        "command": ["${env}", "${interpreter}", "-m", "${program}", *overrides, "${args_no_hyphens}"],
        "method": "bayes",
        "metric": {"name": plan.metrics[0], "goal": "maximize" if plan.higher else "minimize"},
        "run_cap": search.trials,
        "parameters": {name: as_wandb(one) for name, one in search.parameters.items()},
    }
    with config_error_if_unwritable(place):
        place.write_text(yaml.safe_dump(content, sort_keys=False, width=100))
    pruned = "; prune is left out: W&B has another rule, early_terminate" if search.prune else ""
    return f"`wandb sweep {place}` registers it, and the `wandb agent` that it names plays it{pruned}"


def as_wandb(one: Distribution) -> dict[str, Any]:
    """A range or a choice in the words of W&B."""
    if isinstance(one, CategoricalDistribution):
        return {"values": list(one.choices)}
    if one.step and not one.log:  # W&B would round to multiples of a step, whatever the low end is
        count = round((one.high - one.low) / one.step)
        return {"values": [one.low + i * one.step for i in range(count + 1)]}
    return {"distribution": "log_uniform_values" if one.log else "uniform", "min": one.low, "max": one.high}
