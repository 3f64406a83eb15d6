"""Runs and resumes in this process or in another, and readers of what they wrote."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from support.small_games import ROOT, SMALL
from support.warm_process import WarmProcess

from ganlab.config.compose import compose
from ganlab.run import run

QUICK = (*SMALL, "evaluation.n=100", "evaluation.n_real=60", "evaluate_every=1000", "data.batch_size=32")

StartedProcess = WarmProcess | subprocess.Popen[str]
started_processes: list[StartedProcess] = []


def play(run_dir: Path, *overrides: str) -> dict[str, float]:
    """Plays a run in this process and returns its final metrics."""
    arguments = [*QUICK, f"run_dir={run_dir}", *overrides]
    return run(compose(*arguments), arguments)


def resume(run_dir: Path, *overrides: str) -> dict[str, float]:
    """Resumes a run in this process and returns its final metrics."""
    arguments = [f"resume={run_dir}", *overrides]
    return run(compose(*arguments), arguments)


def start(*overrides: str, module: Sequence[str] = ("ganlab.run",), cwd: Path | None = None) -> WarmProcess:
    """Starts a module in another process, in which torch and Lightning are already imported."""
    process = WarmProcess([*module, *overrides], cwd or Path.cwd(), environment())
    started_processes.append(process)
    return process


def start_two_ranks(*overrides: str) -> WarmProcess:
    """Starts a run whose other ranks are forks of its first one."""
    return start(*overrides, module=("support.run_with_forks",), cwd=ROOT / "tests")


def start_cold(*overrides: str, **options: Any) -> subprocess.Popen[str]:
    """Starts a run in a new interpreter."""
    command = [sys.executable, "-m", "ganlab.run", *overrides]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment(), **pipes, **options)
    started_processes.append(process)
    return process


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def finish(process: StartedProcess) -> tuple[int, str, str]:
    """Waits for the process; its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def checkpoint(run_dir: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True)


def summary(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "summary.json").read_text())


def rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def bitwise_equal(one: Any, other: Any) -> bool:
    """Equality bit for bit of nested containers."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(bitwise_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(bitwise_equal, one, other))
    return one == other


def assert_same_run(one: Path, other: Path) -> None:
    """The two runs have equal weights, optimiser states and trick states, and the same metrics.csv."""
    checkpoints = checkpoint(one), checkpoint(other)
    for part in ("state_dict", "optimizer_states"):
        assert bitwise_equal(*(content[part] for content in checkpoints)), part
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
