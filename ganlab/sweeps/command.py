"""python -m ganlab.ablate sweep=...: plays the trials of a sweep, or says what it would play."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from ganlab.config.overrides import shell_command
from ganlab.core.errors import ConfigError, UnfinishedRuns
from ganlab.filesystem import config_error_if_unwritable
from ganlab.suites.estimate import FIRST, MORE, rounds_left, trial
from ganlab.suites.words import duration
from ganlab.sweeps.parameters import Choice, Parameter
from ganlab.sweeps.plan import Plan
from ganlab.sweeps.sweep import Sweep, Tried, best


def command(sweep: Sweep, processes: int, threads: int, cfg: DictConfig) -> None:
    """Plays trials until as many as the sweep is to have have ended; it raises what `ablate` does."""
    plan = Plan(sweep, cfg.root, list(cfg.extra), Path(cfg.output))
    print(f"{sweep.name}: {sweep.question}", flush=True)
    if cfg.wandb:
        print(write_agent(plan))
    elif cfg.dry_run:
        show(plan, processes, threads)
    else:
        work(plan, processes, threads, "" if cfg.worker is None else f"worker {cfg.worker}: ")


def work(plan: Plan, processes: int, threads: int, label: str) -> None:
    """Plays what is left, and says how it ended."""
    try:
        from ganlab.sweeps.worker import Sweeper
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ConfigError("sweep= needs optuna: pip install '.[sweep]'") from error

    worker = Sweeper(plan, processes, threads)
    shared = f"{processes} at a time with {threads} threads each"
    print(f"{label}{plan.sweep.trials} trials, {worker.left()} to play, {shared}", flush=True)
    worker.play()
    left = worker.left()
    if worker.signals:
        print(f"{left} trials are left; the same command goes on", flush=True)
        raise KeyboardInterrupt
    if worker.stopped is not None and left:
        raise UnfinishedRuns(f"{worker.stopped}; {left} trials are left")
    conclude(plan, worker.rows())
    if worker.interrupted:
        interrupted = f"{worker.interrupted} trials were interrupted"
        raise UnfinishedRuns(f"{interrupted}: the same command goes on with them")
    if left:
        print(f"{left} trials are with other processes", flush=True)


def conclude(plan: Plan, rows: Sequence[Tried]) -> None:
    """How the trials have ended, and the best of them."""
    print(f"\n  {counted(rows)}")
    found = best(rows, plan.more)
    if rows and not found:
        raise UnfinishedRuns(f"no trial has finished; {plan.sweep.results} says why")
    if found:
        values = "  ".join(f"{name}={value}" for name, value in found[0].parameters.items())
        print(f"  best: trial {found[0].trial}, {plan.name} {found[0].value:.4g}: {values}")
    print(f"\nnext: {shell_command('report')} sweep={plan.sweep.folder}", flush=True)


def show(plan: Plan, processes: int, threads: int) -> None:
    """How far it is, and what the rest would take; writes nothing that stays."""
    rows, said = Tried.read(plan.sweep.results)
    if said:
        print(said)
    plan.refuse_others(rows)
    left = max(plan.sweep.trials - len(rows), 0)
    print(f"  {counted(rows)}; {left} of {plan.sweep.trials} to play")
    if not left:
        return
    print(f"\na trial of {FIRST + MORE} rounds amid all ranges with {threads} threads:", flush=True)
    job = plan.job(0, {name: one.usual for name, one in plan.sweep.parameters.items()})
    took, rounds = trial(job, threads), rounds_left(job)
    seconds = left * (rounds * took.seconds_per_round + took.start)
    print(
        f"  {left} runs, {rounds:,} rounds of {1000 * took.seconds_per_round:.1f} ms, {took.start:.1f} s of "
        f"starting and ending each: {duration(seconds / min(processes, left))} if none is pruned and "
        f"{processes} at a time do not slow each other; without the evaluations, pictures and checkpoints"
    )


def counted(rows: Sequence[Tried]) -> str:
    """How many trials have ended, and how."""
    kinds = [row.status for row in rows]
    parts = [f"{kinds.count(kind)} {kind}" for kind in Tried.statuses if kind in kinds]
    return f"{len(rows)} trials have ended" + (f": {', '.join(parts)}" if parts else "")


def write_agent(plan: Plan) -> str:
    """Writes wandb.yaml, for `wandb sweep` and `wandb agent`, and returns what is to be said of it."""
    place = plan.sweep.folder / "wandb.yaml"
    with config_error_if_unwritable(place):
        place.write_text(yaml.safe_dump(in_words(plan), sort_keys=False, width=100))
    said = f"{place}: `wandb sweep {place}` registers it, and the `wandb agent` that it names plays it"
    if plan.sweep.after is not None:
        said += "\nprune is left out: W&B ends runs by another rule (early_terminate), if you add one"
    return said


def in_words(plan: Plan) -> dict[str, Any]:
    """A sweep in the words of Weights & Biases, as plain values."""
    sweep = plan.sweep
    overrides = [*sweep.base, *([] if plan.root is None else [f"data.root={plan.root}"]), *plan.extra]
    return {
        "name": sweep.name,
        "description": sweep.question,
        "program": "ganlab.run",
        "command": ["${env}", "${interpreter}", "-m", "${program}", *overrides, "${args_no_hyphens}"],
        "method": "bayes",
        "metric": {"name": plan.name, "goal": "maximize" if plan.more else "minimize"},
        "run_cap": sweep.trials,
        "parameters": {name: distribution(one) for name, one in sweep.parameters.items()},
    }


def distribution(parameter: Parameter) -> dict[str, Any]:
    if isinstance(parameter, Choice):
        return {"values": list(parameter.texts)}
    if parameter.steps:  # W&B would round to multiples of a step, whatever low is
        return {"values": parameter.steps}
    kind = "log_uniform_values" if parameter.log else "uniform"
    return {"distribution": kind, "min": parameter.low, "max": parameter.high}
