"""python -m ganlab.ablate: plays the runs of a suite or of a sweep, and goes on where it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.overrides import shell_command
from ganlab.core.errors import UnfinishedRuns, require
from ganlab.suites.page import refuse_two

if TYPE_CHECKING:
    from ganlab.suites.plan import Job
    from ganlab.suites.standing import Standing
    from ganlab.suites.suite import Suite

# The largest number of threads of a run if the user gives none; small networks gain nothing from more.
MOST = 4


def ablate(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Plays every arm with every seed, or trial after trial: runs of their own with rows in results.csv.

    Args:
        cfg: the settings in conf/ablate.yaml.
        overrides: the overrides of the command line, which `launch` passes to every command; not used here.

    Raises:
        ConfigError: the suite, the sweep or a setting cannot be; nothing was played.
        UnfinishedRuns: runs have failed, diverged, or were interrupted by themselves.
        KeyboardInterrupt: a signal came; the runs have written checkpoints.
    """
    refuse(cfg)
    if cfg.sweep is not None:
        from ganlab.sweeps import sweep as sweeps

        sweep = sweeps.read(cfg.sweep)
        from ganlab.sweeps.command import command  # imports torch, which the lines above do not need

        command(sweep, *shared_out(cfg.processes, cfg.threads), cfg)
        return
    from ganlab.suites import suite as suites

    suite = suites.read(cfg.suite)
    from ganlab.suites.answer import foresight
    from ganlab.suites.plan import plan

    processes, threads = shared_out(cfg.processes, cfg.threads)
    jobs = plan(suite, list(cfg.only), cfg.root, list(cfg.extra), Path(cfg.output))
    print(f"{suite.name}: {suite.question}\n{foresight(suite)}", flush=True)
    if cfg.dry_run:
        show(suite, jobs, processes, threads, cfg.rerun)
        return
    work(suite, jobs, processes, threads, cfg)


def refuse(cfg: DictConfig) -> None:
    """Refuses settings that would have no effect."""
    refuse_two(cfg)
    whose, silent = ("suite", ["wandb"]) if cfg.sweep is None else ("sweep", ["only", "rerun"])
    for name in silent:
        require(not cfg[name], f"{name}={cfg[name]} has no effect where a {whose} is played: leave it out")
    both = "wandb=true plays nothing, so dry_run=true has no effect: leave one of them out"
    require(not (cfg.wandb and cfg.dry_run), both)


def shared_out(processes: int | None, threads: int | None) -> tuple[int, int]:
    """How many runs are played at a time, and with how many threads each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None and given.isdecimal():
        threads = max(int(given), 1)
    if threads is None:
        threads = min(max(cores // (processes or 1), 1), MOST)
    if processes is None:
        import torch

        processes = 1 if torch.accelerator.is_available() else max(cores // threads, 1)
    return processes, threads


def work(suite: Suite, jobs: list[Job], processes: int, threads: int, cfg: DictConfig) -> None:
    """Plays what is left, and says how it ended."""
    from ganlab.suites.worker import Worker

    worker = Worker(suite, jobs, processes, threads, cfg.rerun)
    label = "" if cfg.worker is None else f"worker {cfg.worker}: "
    shared = f"{processes} at a time with {threads} threads each"
    print(f"{label}{len(jobs)} runs, {len(worker.left())} to play, {shared}", flush=True)
    if stale := sum(found.stale for found in worker.before if found.done(cfg.rerun)):
        reason = "their numbers have changed since: rerun=stale plays them again"
        print(f"{stale} runs are stale, {reason}", flush=True)
    worker.work()
    left = len(worker.left())
    if worker.signals:
        print(f"{left} runs are left; the same command goes on", flush=True)
        raise KeyboardInterrupt
    found = standings(suite, jobs)
    table(jobs, found)
    print(f"\nnext: {shell_command('report')} suite={suite.folder}", flush=True)
    if worker.stopped is not None:
        raise UnfinishedRuns(f"{worker.stopped}; {left} runs are left")
    bad = [state.row.status for state in found if state.row is not None and state.row.status != "finished"]
    kinds = [f"{bad.count(kind)} {kind}" for kind in ("failed", "diverged") if kind in bad]
    kinds += [f"{worker.interrupted} interrupted"] if worker.interrupted else []
    if kinds:
        remedy = "the same command goes on with what was interrupted, rerun=failed with the others too"
        raise UnfinishedRuns(f"of {len(jobs)} runs {', '.join(kinds)}: {remedy}")
    if left:
        print(f"{left} runs are with other processes", flush=True)


def standings(suite: Suite, jobs: list[Job]) -> list[Standing]:
    """How each run stands by now."""
    from ganlab.suites.results import Row
    from ganlab.suites.standing import standing

    rows, said = Row.read(suite.results)
    if said:
        print(said, flush=True)
    return [standing(job, rows) for job in jobs]


def table(jobs: list[Job], found: list[Standing]) -> None:
    """Per arm, how many runs have finished, and the mean of the first metric."""
    arms = list(dict.fromkeys(job.arm for job in jobs))
    width = max(map(len, (*arms, "arm"))) + 2
    print(f"\n  {'arm':<{width}}{'n':>3}  {'failed':>6}  mean of {jobs[0].names[0]}")
    for arm in arms:
        rows = [state.row for job, state in zip(jobs, found, strict=True) if job.arm == arm and state.row]
        values = [row.value for row in rows if row.value is not None]
        mean = f"{sum(values) / len(values):.4g}" if values else ""
        bad = sum(row.status != "finished" for row in rows)
        print(f"  {arm:<{width}}{len(rows) - bad:>3}  {bad:>6}  {mean}")


def show(suite: Suite, jobs: list[Job], processes: int, threads: int, rerun: str | None) -> None:
    """How each run stands, and what the rest would take; writes nothing that stays."""
    from ganlab.suites.estimate import FIRST, MORE, rounds_left, trial
    from ganlab.suites.words import duration

    found = standings(suite, jobs)
    width = max(len(job.arm) for job in jobs)
    for job, state in zip(jobs, found, strict=True):
        again = ", to run anew" if state.row is not None and not state.done(rerun) else ""
        print(f"  {job.arm:<{width}}  seed {job.seed}  {state.describe(job)}{again}", flush=True)
    left = [job for job, state in zip(jobs, found, strict=True) if not state.done(rerun)]
    if not left:
        print("nothing to run")
        return
    print(f"\na trial of {FIRST + MORE} rounds of each arm with {threads} threads:", flush=True)
    total = 0.0
    for arm in dict.fromkeys(job.arm for job in left):
        mine = [job for job in left if job.arm == arm]
        took = trial(mine[0], threads)
        rounds = sum(map(rounds_left, mine))
        seconds = rounds * took.seconds_per_round + len(mine) * took.start
        total += seconds
        parts = f"{len(mine)} runs, {rounds:,} rounds of {1000 * took.seconds_per_round:.1f} ms"
        ends = f"{took.start:.1f} s of starting and ending each"
        print(f"  {arm:<{width}}  {parts}, {ends}: {duration(seconds)}", flush=True)
    most = max(ceil(job.cfg.steps / job.cfg.evaluate_every) for job in left)
    beside = f", {processes} at a time if they do not slow each other" if processes > 1 else ""
    without = f"without the evaluations (up to {most} a run), pictures, checkpoints and the logger"
    print(f"in all {duration(total / min(processes, len(left)))}{beside}; {without}")


if __name__ == "__main__":
    launch("ablate", ablate)
