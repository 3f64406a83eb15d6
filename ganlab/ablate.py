"""`python -m ganlab.ablate`: plays the runs of a study, and goes on where it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.core.errors import UnfinishedRuns, require
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
        play_study(cfg)


def play_study(cfg: DictConfig) -> None:
    """Plays, describes, times or exports the study of a command."""
    study = read_study(cfg)
    refuse_idle_settings(cfg)
    print(f"{study.name}: {study.question}", flush=True)
    plan = plan_of(study, cfg)
    if cfg.dry_run:
        print("\n".join(plan.standings()))
        return
    plan.build()
    processes, threads = shared_out(cfg.processes, cfg.threads)
    if cfg.estimate:
        from ganlab.studies.backend import Local
        from ganlab.studies.estimate import print_estimate

        print_estimate(plan, Local(processes, threads))
    elif cfg.wandb:
        from ganlab.studies.wandb_export import write_wandb_sweep

        print(write_wandb_sweep(plan))
    else:
        label = "" if cfg.worker is None else f"worker {cfg.worker}: "
        play(plan, backend_of(cfg, processes, threads), label, threads)


def plan_of(study: Study, cfg: DictConfig) -> Plan:
    """The plan of a study; of a suite, also prints what its seeds can show."""
    from ganlab.studies import plan

    common = (cfg.root, list(cfg.extra), Path(cfg.output))
    if isinstance(study, Search):
        return plan.SearchPlan(study, *common)
    assert isinstance(study, Suite)
    from ganlab.studies.conclusion import foresight

    print(foresight(study), flush=True)
    return plan.SuitePlan(study, list(cfg.only), cfg.rerun, *common)


def refuse_idle_settings(cfg: DictConfig) -> None:
    """Refuses settings that would have no effect."""
    kind, idle = ("suite", ["wandb"]) if cfg.sweep is None else ("sweep", ["only", "rerun"])
    reason = f"has no effect where a {kind} is played"
    for name in idle:
        require(not cfg[name], reason, "leave it out", name, cfg[name])
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


def backend_of(cfg: DictConfig, processes: int, threads: int) -> Backend:
    from ganlab.studies import backend

    if cfg.backend == "local":
        return backend.Local(processes, threads)
    return backend.Ray(cfg.address, cfg.processes, threads, cfg.num_cpus, cfg.num_gpus)


def play(plan: Plan, backend: Backend, label: str, threads: int) -> None:
    """Plays what is left, and says how it ended."""
    from ganlab.studies.pools import pool_of

    pool = pool_of(plan, backend)
    at_a_time = f"{backend.processes} at a time with {threads} threads each"
    print(f"{label}{plan.size} runs, {pool.left()} to play, {at_a_time}", flush=True)
    if pool.num_stale:
        print(
            f"{pool.num_stale} runs are stale, their numbers have changed since: rerun=stale plays them again"
        )
    pool.play()
    left = pool.left()
    if pool.signals:
        print(f"{left} runs are left; the same command goes on", flush=True)
        raise KeyboardInterrupt
    print(f"\n{pool.results()}\n\nnext: python -m ganlab.report {plan.study.setting}", flush=True)
    if pool.stopped is not None:
        raise UnfinishedRuns(f"{pool.stopped}; {left} runs are left")
    if bad := pool.unfinished():
        remedy = "the same command goes on with what was interrupted, rerun=failed with the others too"
        raise UnfinishedRuns(f"of {plan.size} runs {bad}: {remedy}")
    if left:
        print(f"{left} runs are with other processes", flush=True)


if __name__ == "__main__":
    launch("ablate", ablate)
