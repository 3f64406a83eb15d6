"""The clock of a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from commands import play, summary

from ganlab.callbacks.samples import Samples
from ganlab.data.sources import Memory

ROUNDS, WAIT = 10, 0.1  # seconds


@pytest.fixture
def slow_data(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Memory.batches

    def batches(self, requests):
        for batch in quick(self, requests):
            time.sleep(WAIT)
            yield batch

    monkeypatch.setattr(Memory, "batches", batches)


def test_the_wait_for_data_counts(slow_data: None, tmp_path: Path) -> None:
    play(tmp_path / "run", f"steps={ROUNDS}", "metric=none")
    told = summary(tmp_path / "run")
    assert told["seconds"] > ROUNDS * WAIT
    assert told["images_per_second"] < 32 / WAIT


def test_what_callbacks_do_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Samples, "on_train_batch_end", lambda *_: time.sleep(3 / ROUNDS))
    play(tmp_path / "run", f"steps={ROUNDS}", "metric=none")
    assert summary(tmp_path / "run")["seconds"] < 2.5


def test_something_long_says_so_beforehand(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from ganlab.callbacks import progress

    clock = iter([0.0, 1.0, 4.0, 5.0])
    monkeypatch.setattr(progress, "perf_counter", lambda: next(clock))
    with progress.watch("samples", 10_000) as done:
        done(50)
        done(50)  # 4 s for the first hundredth
        done(50)
    assert capsys.readouterr().out.split("\n")[0] == "10,000 samples: 7 min"
    clock = iter([0.0, 4.0])
    with progress.watch("samples", 200) as done:
        done(100)
    assert capsys.readouterr().out == ""
