"""Suites and sweeps for the tests of `python -m ganlab.ablate`, and the command in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from support.commands import finish, start
from support.small_games import ROOT
from support.warm_process import WarmProcess

from ganlab.core.numerics import NUMERICS_VERSION
from ganlab.suites.results import Row

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
    metrics={"fid/digits_train_60": {"value": 1 / 3, "n_real": 60, "floor": None}},
    numerics=NUMERICS_VERSION,
)


def write_suite(folder: Path, text: str) -> Path:
    """Writes folder/suite.yaml and returns the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "suite.yaml").write_text(text)
    return folder


def start_ablate(*overrides: str) -> WarmProcess:
    """Starts the command in another process, whose runs are forks of it."""
    return start("processes=1", *overrides, module=("support.ablate_with_forks",), cwd=ROOT / "tests")


def wait_until(condition: Callable[[], object], process: WarmProcess) -> None:
    """Returns as soon as the condition holds; fails if the process ends before, or after two minutes."""
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(finish(process))


def child_pids(process: WarmProcess) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
