"""Profiling: the ranges add up to the whole time, and each part of a step has its row."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.commands import play

from ganlab.core.profiling import OUTSIDE, Stopwatch


def test_an_inner_range_pauses_the_outer_one() -> None:
    watch = Stopwatch(lambda: None)
    watch.reset()
    with watch.range("outer"):
        time.sleep(0.02)
        with watch.range("inner"):
            time.sleep(0.05)
    time.sleep(0.01)
    with watch.range("outer"):
        pass
    assert watch.seconds["inner"] == pytest.approx(0.05, abs=0.015)
    assert watch.seconds["outer"] == pytest.approx(0.02, abs=0.015)
    assert watch.seconds[OUTSIDE] == pytest.approx(0.01, abs=0.008)


def test_a_run_writes_a_table_and_a_trace(tmp_path: Path) -> None:
    play(tmp_path / "run", "profile=true", "steps=40", "trick=[r1,ema]")
    rows = [line.split("  ")[0] for line in (tmp_path / "run" / "profile.txt").read_text().splitlines()]
    assert {"data", "discriminator", "generator", "trick r1", "trick ema", "callback log", "all"} <= set(rows)
    assert rows[-1].endswith("images/s over 25 steps")
    events = json.loads((tmp_path / "run" / "profile.json").read_text())["traceEvents"]
    named = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert named.count("callback log") == 5  # once in each traced step


def test_a_run_too_short_for_the_table_reports_it(tmp_path: Path) -> None:
    play(tmp_path / "run", "profile=true", "steps=2")
    assert (
        tmp_path / "run" / "profile.txt"
    ).read_text() == "only 2 steps: the table is of those from step 16 on\n"


def test_profiling_does_not_change_the_losses(tmp_path: Path) -> None:
    for name in ("true", "false"):
        play(tmp_path / name, f"profile={name}", "steps=20", "trick=[r1,ema,replay_buffer]")
    assert len({(tmp_path / name / "metrics.csv").read_text() for name in ("true", "false")}) == 1
