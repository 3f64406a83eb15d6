"""Profiling: the ranges add up to the whole time, and each part of a step has its row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import play
from support.small_games import CYCLEGAN

from ganlab.config.compose import compose
from ganlab.core import profiling
from ganlab.core.profiling import NO_RANGE, OUTSIDE, Stopwatch, profile_range, profiled
from ganlab.run import run


def test_an_inner_range_pauses_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(profiling, "perf_counter", lambda: now[0])
    watch = Stopwatch(lambda: None)
    watch.start()
    with watch.measure("outer"):
        now[0] += 2
        with watch.measure("inner"):
            now[0] += 5
    now[0] += 1
    with watch.measure("outer"):
        now[0] += 3
    monkeypatch.setattr(Stopwatch, "running", None)
    assert watch.seconds == {"inner": 5, "outer": 5, OUTSIDE: 1}


def test_a_run_writes_a_table_and_a_trace(tmp_path: Path) -> None:
    play(tmp_path / "run", "profile=true", "steps=40", "trick=[r1,ema]")
    rows = [line.split("  ")[0] for line in (tmp_path / "run" / "profile.txt").read_text().splitlines()]
    assert {"data", "discriminator", "generator", "trick r1", "trick ema", "callback log", "all"} <= set(rows)
    assert rows[-1].endswith("images/s over 25 steps")
    events = json.loads((tmp_path / "run" / "profile.json").read_text())["traceEvents"]
    named = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert named.count("callback log") == 5  # once in each traced step
    assert Stopwatch.running is None


def test_the_players_of_several_games_have_one_row_each(tmp_path: Path) -> None:
    given = [*CYCLEGAN, "metric=none", "profile=true", "steps=17", f"run_dir={tmp_path / 'run'}"]
    run(compose(*given), given)
    rows = [line.split("  ")[0] for line in (tmp_path / "run" / "profile.txt").read_text().splitlines()[1:-2]]
    kinds = {row for row in rows if not row.startswith("callback ")}
    assert kinds == {"data", "discriminator", "generator", "trick replay_buffer", "the play", OUTSIDE}
    assert not any("gamemodule" in row for row in rows)  # it is no callback


def test_a_run_too_short_for_the_table_reports_it(tmp_path: Path) -> None:
    play(tmp_path / "run", "profile=true", "steps=2")
    assert (
        tmp_path / "run" / "profile.txt"
    ).read_text() == "only 2 steps: the table covers the steps from 16 on\n"


def test_profiling_does_not_change_the_losses(tmp_path: Path) -> None:
    for name in ("true", "false"):
        play(tmp_path / name, f"profile={name}", "steps=20", "trick=[r1,ema,replay_buffer]")
    assert len({(tmp_path / name / "metrics.csv").read_text() for name in ("true", "false")}) == 1


def test_ranges_are_free_while_no_stopwatch_runs() -> None:
    assert profile_range("data") is NO_RANGE
    assert profiled("data", len) is len
