"""`python -m ganlab.ablate`: plays the runs of a study, and goes on where it was interrupted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ganlab.cli import launch
from ganlab.config.compose import CONF
from ganlab.config.overrides import shell_command
from ganlab.core.errors import UnfinishedRuns, require
from ganlab.core.numerics import NUMERICS
from ganlab.studies.spec import Suite, needs_studies, read_study

if TYPE_CHECKING:
    from ganlab.studies.backend import Backend
    from ganlab.studies.plan import Plan

MAX_THREADS = 4  # of a run if the user gives no number; small networks gain nothing from more


def ablate(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Plays each arm of a suite with each seed, or the trials of a search, with a row each in results.csv.

    Args:
        cfg: the settings in conf/ablate.yaml.
        overrides: those of the command line, which `launch` passes; not used.

    Raises:
        ConfigError: the study or a setting cannot be used; nothing was played.
        UnfinishedRuns: runs have failed, diverged, or were interrupted by themselves.
        KeyboardInterrupt: a signal came; the runs have written checkpoints.
    """
    with needs_studies():
        study = read_study(cfg)
        refuse_idle_settings(cfg)
        print(f"{study.name}: {study.question}", flush=True)
        if isinstance(study, Suite):
            from ganlab.studies.analysis import foresight
            from ganlab.studies.plan import Plan

            print(foresight(study), flush=True)
            plan = Plan(study, cfg)
        else:
            from ganlab.studies.search import SearchPlan  # imports optuna

            plan = SearchPlan(study, cfg)
        if cfg.dry_run:
            print("\n".join(plan.told()))
            return
        plan.build()
        from ganlab.studies import backend, pool, search  # import torch and optuna

        processes, threads = shared_out(cfg.processes, cfg.threads)
        if cfg.wandb:
            print(search.write_wandb_sweep(plan))
        elif cfg.estimate:
            pool.print_estimate(plan, backend.Local(processes, threads))
        elif cfg.backend == "local":
            play(plan, backend.Local(processes, threads))
        else:
            play(plan, backend.Ray(cfg.address, cfg.processes, threads, cfg.num_cpus, cfg.num_gpus))


def refuse_idle_settings(cfg: DictConfig) -> None:
    """Refuses settings that would have no effect."""
    usual: Any = OmegaConf.load(CONF / "ablate.yaml")
    idle = dict.fromkeys(["wandb"] if cfg.suite else ["only", "rerun"], "with this kind of study")
    if cfg.backend == "local":
        idle |= dict.fromkeys(["address", "num_cpus", "num_gpus"], "without backend=ray")
    for name, where in idle.items():
        require(cfg[name] == usual[name], f"has no effect {where}", "leave it out", name, cfg[name])
    chosen = [name for name in ("dry_run", "estimate", "wandb") if cfg[name]]
    require(len(chosen) < 2, f"{' and '.join(chosen)} exclude each other", "leave one of them out")


def shared_out(processes: int | None, threads: int | None) -> tuple[int, int]:
    """How many runs are played at a time on this machine, and with how many threads each."""
    from joblib import cpu_count  # knows what a container and an affinity allow

    cores, given = cpu_count(), os.environ.get("OMP_NUM_THREADS", "")
    share = max(cores // (processes or 1), 1)
    threads = threads or (int(given) if given.isdecimal() else 0) or min(share, MAX_THREADS)
    if processes is None:
        import torch

        processes = 1 if torch.accelerator.is_available() else max(cores // threads, 1)
    return processes, threads


def play(plan: Plan, backend: Backend) -> None:
    """Plays what is left, and says how it ended."""
    from ganlab.studies.pool import Pool

    label = "" if plan.cfg.worker is None else f"worker {plan.cfg.worker}: "
    at_a_time = f"{backend.processes} at a time with {backend.threads} threads each"
    print(f"{label}{len(plan.labels)} runs, {len(plan.open())} to play, {at_a_time}", flush=True)
    stale = sum(row.numerics != NUMERICS for row in plan.rows())
    if stale and plan.cfg.suite and plan.cfg.rerun != "stale":
        print(f"{stale} runs are stale, their numbers have changed since: rerun=stale plays them again")
    pool = Pool(plan, backend)
    pool.play()
    left, mine = len(plan.open()), pool.tried  # what others were interrupted in, they or others go on with
    rows = [row for row in plan.rows() if row.status != "interrupted" or (row.arm, row.seed) in mine]
    count = Counter(row.status for row in rows)
    if pool.signals:
        print(f"{left} runs are left; the same command goes on", flush=True)
        raise KeyboardInterrupt
    print("\n" + ", ".join(f"{n} {status}" for status, n in count.items()))
    print(f"next: {shell_command('report')} {plan.study.setting}", flush=True)
    if pool.stopped is not None:
        raise UnfinishedRuns(f"{pool.stopped}; {left} runs are left")
    if bad := [f"{count[kind]} {kind}" for kind in (*plan.failures, "interrupted") if count[kind]]:
        remedy = "the same command goes on with what was interrupted; of a suite, rerun=failed with the rest"
        raise UnfinishedRuns(f"of {len(plan.labels)} runs {', '.join(bad)}: {remedy}")
    if not left and not count["finished"]:
        raise UnfinishedRuns(f"no run has finished: {plan.study.results} says why")
    if left:
        print(f"{left} runs are with other processes", flush=True)


if __name__ == "__main__":
    launch("ablate", ablate)
