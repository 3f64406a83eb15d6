"""Suites and searches for tests, and `python -m ganlab.ablate` in another process."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from support.commands import finish, start
from support.small_games import ROOT
from support.warm_process import WarmProcess

from ganlab.config.compose import compose
from ganlab.core.numerics import NUMERICS
from ganlab.studies.plan import Job, Plan
from ganlab.studies.search import SearchPlan
from ganlab.studies.spec import read_search, read_suite
from ganlab.studies.table import Row, read

SUITE = """\
question: Does EMA help?
base: [model=gan, steps=4, 'metric=[fid]', evaluation.n=60, evaluation.n_real=60, logger=csv]
seeds: 2
metrics: [fid]
arms:
  plain: {}
  ema: {overrides: [trick=ema]}
"""
SEARCH = """\
question: Which rate suits a small GAN?
base: [evaluation.n=60, evaluation.n_real=60, steps=30, evaluate_every=10, checkpoint_every=5, OTHERS]
metric: fid
trials: 3
seed: 0
parameters:
  optimizer.generator.lr: tag(log, interval(1e-5, 1e-2))
  trick.r1.gamma: interval(0.1, 10)
  data.batch_size: range(16, 65, step=16)
  objective: choice(non_saturating, least_squares)
prune: {after: 10}
""".replace("OTHERS", "'metric=[fid]', logger=csv, trick=r1, seed=3, sample_every=99")
NAME = "fid/digits_train_60"
CHOSEN = {
    "optimizer.generator.lr": 1e-3,
    "trick.r1.gamma": 1.5,
    "data.batch_size": 32,
    "objective": "least_squares",
}
ROW = Row(
    arm="r1",
    seed=3,
    status="finished",
    reason="",
    config="0" * 12,
    data="1" * 12,
    code="2" * 12,
    commit="3" * 12 + "+",
    steps=4,
    images=256,
    seconds=0.1,
    device='a "GPU", or so',
    finished="2026-11-21T12:00:00Z",
    value=1 / 3,
    metrics={NAME: {"value": 1 / 3, "n_real": 60, "floor": None}},
    numerics=NUMERICS,
)


def write_suite(folder: Path, text: str = SUITE) -> Path:
    """Writes folder/suite.yaml and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.yaml").write_text(text)
    return folder


def write_search(folder: Path, text: str = SEARCH) -> Path:
    """Writes folder/sweep.yaml and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.yaml").write_text(text)
    return folder


def settings(output: Path, extra: Sequence[str] = (), **options: Any) -> DictConfig:
    """The settings of the command that make plans."""
    cfg = compose(f"output={output}", config_name="ablate")
    cfg.merge_with({"extra": [*extra]} | options)
    return cfg


def jobs_of(plan: Plan) -> list[Job]:
    """All runs of a suite."""
    return [plan.job(label) for label in plan.labels]


def suite_plan(folder: Path, *extra: str, **options: Any) -> Plan:
    """The built plan of a suite."""
    plan = Plan(read_suite(folder), settings(folder / "runs", extra, **options))
    plan.build()
    return plan


def search_plan(folder: Path, *extra: str) -> SearchPlan:
    """The built plan of a search."""
    plan = SearchPlan(read_search(folder), settings(folder / "runs", extra))
    plan.build()
    return plan


def row_of(job: Job, **changes: Any) -> Row:
    """The row of a finished run."""
    known = {name: getattr(job, name) for name in ("arm", "seed", "config", "data")}
    return dataclasses.replace(ROW, **known | changes)


def trial_row(trial: int, value: float | None, **changes: Any) -> Row:
    """The row of a trial; of a pruned one without a value."""
    record = {"value": value, "better": "lower", "n_fake": 60, "extractor": "digits", "floor": 7.1}
    record |= {"floor_n": 360, "floor_split": "test"}
    facts: dict[str, Any] = {
        "status": "pruned" if value is None else "finished",
        "parameters": CHOSEN,
        "reason": "it was hopeless" if value is None else "",
        "course": {"20": 9.0 + trial, "40": value} if value is not None else {"20": 50.0},
        "space": "0" * 12,
        "metrics": {} if value is None else {NAME: record},
    }
    return dataclasses.replace(ROW, arm=f"trial{trial}", value=value, **facts | changes)


def rows_of(folder: Path) -> list[Row]:
    return read(folder / "results.csv")


def start_ablate(*overrides: str) -> WarmProcess:
    """Starts the command in another process."""
    return start("processes=1", *overrides, module=("ganlab.ablate",), cwd=ROOT / "tests")


def wait_until(condition: Callable[[], object], process: WarmProcess, seconds: float = 120) -> None:
    """Returns as soon as the condition holds; fails if the process ends before, or after `seconds`."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(finish(process))
