"""`python -m ganlab.ablate`: plays the runs of a study, and goes on where it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.overrides import shell_command
from ganlab.core.errors import UnfinishedRuns, require
from ganlab.core.numerics import NUMERICS
from ganlab.studies.spec import Search, Study, Suite, needs_studies, read_study

if TYPE_CHECKING:
    from ganlab.studies.backend import Backend
    from ganlab.studies.plan import Plan

MAX_THREADS = 4  # of a run if the user gives no number; small networks gain nothing from more


def ablate(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Plays each arm of a suite with each seed, or the trials of a search, with a row each in results.csv.

    Args:
        cfg: the settings in conf/ablate.yaml.
        overrides: the overrides of the command line, which `launch` passes to every command; not used here.

    Raises:
        ConfigError: the study or a setting cannot be used; nothing was played.
        UnfinishedRuns: runs have failed, diverged, or were interrupted by themselves.
        KeyboardInterrupt: a signal came; the runs have written checkpoints.
    """
    with needs_studies():
        study = read_study(cfg)
        refuse_idle_settings(cfg)
        print(f"{study.name}: {study.question}", flush=True)
        plan = plan_of(study, cfg)
        if cfg.dry_run:
            print("\n".join(plan.standings()))
            return
        plan.build()
        if cfg.wandb:
            from ganlab.studies.wandb_export import write_wandb_sweep

            print(write_wandb_sweep(plan))
            return
        from ganlab.studies import backend, estimate

        processes, threads = shared_out(cfg.processes, cfg.threads)
        if cfg.estimate:
            estimate.print_estimate(plan, backend.Local(processes, threads))
        elif cfg.backend == "local":
            play(plan, backend.Local(processes, threads))
        else:
            play(plan, backend.Ray(cfg.address, cfg.processes, threads, cfg.num_cpus, cfg.num_gpus))


def plan_of(study: Study, cfg: DictConfig) -> Plan:
    """The plan of a study; of a suite, also prints what its seeds can show."""
    if isinstance(study, Search):
        from ganlab.studies.search_plan import SearchPlan

        return SearchPlan(study, cfg)
    assert isinstance(study, Suite)
    from ganlab.studies.conclusion import foresight
    from ganlab.studies.plan import SuitePlan

    print(foresight(study), flush=True)
    return SuitePlan(study, cfg)


def refuse_idle_settings(cfg: DictConfig) -> None:
    """Refuses settings that would have no effect."""
    kind, idle = ("suite", ["wandb"]) if cfg.sweep is None else ("sweep", ["only", "rerun"])
    for name in idle:
        require(not cfg[name], f"has no effect where a {kind} is played", "leave it out", name, cfg[name])
    chosen = [name for name in ("dry_run", "estimate", "wandb") if cfg[name]]
    require(len(chosen) < 2, f"{' and '.join(chosen)} exclude each other", "leave one of them out")
    for name, default in (("address", None), ("num_cpus", 1), ("num_gpus", 0)):
        is_idle = cfg.backend == "local" and cfg[name] != default
        require(not is_idle, "has no effect without backend=ray", "leave it out", name, cfg[name])


def shared_out(processes: int | None, threads: int | None) -> tuple[int, int]:
    """How many runs are played at a time on this machine, and with how many threads each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None and given.isdecimal():
        threads = max(int(given), 1)
    if threads is None:
        threads = min(max(cores // (processes or 1), 1), MAX_THREADS)
    if processes is None:
        import torch

        processes = 1 if torch.accelerator.is_available() else max(cores // threads, 1)
    return processes, threads


def play(plan: Plan, backend: Backend) -> None:
    """Plays what is left, and says how it ended."""
    from ganlab.studies.plan import is_done
    from ganlab.studies.pool import Pool

    pool = Pool(plan, backend)
    label = "" if plan.cfg.worker is None else f"worker {plan.cfg.worker}: "
    at_a_time = f"{backend.processes} at a time with {backend.threads} threads each"
    print(f"{label}{len(plan.labels)} runs, {plan.left()} to play, {at_a_time}", flush=True)
    stale = sum(row.numerics != NUMERICS and is_done(row, plan.cfg.rerun) for row in plan.counted())
    if stale and plan.cfg.suite:
        print(f"{stale} runs are stale, their numbers have changed since: rerun=stale plays them again")
    pool.play()
    left = plan.left()
    if pool.signals:
        print(f"{left} runs are left; the same command goes on", flush=True)
        raise KeyboardInterrupt
    lines = "\n".join(plan.results())
    print(f"\n{lines}\n\nnext: {shell_command('report')} {plan.study.setting}", flush=True)
    if pool.stopped is not None:
        raise UnfinishedRuns(f"{pool.stopped}; {left} runs are left")
    if bad := pool.unfinished():
        others = ", rerun=failed with the others too" if plan.failures else ""
        remedy = f"the same command goes on with what was interrupted{others}"
        raise UnfinishedRuns(f"of {len(plan.labels)} runs {bad}: {remedy}")
    if not left and all(row.status != "finished" for row in plan.counted()):
        raise UnfinishedRuns(f"no run has finished: {plan.study.results} says why")
    if left:
        print(f"{left} runs are with other processes", flush=True)


if __name__ == "__main__":
    launch("ablate", ablate)
