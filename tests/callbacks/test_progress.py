"""The clock of a run, and what it prints."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.commands import play, resume, summary

from ganlab.config.load import load
from ganlab.data.sources import TensorSource
from ganlab.training.callbacks.pictures import SamplePictures
from ganlab.training.callbacks.record import player_of_loss

STEPS, WAIT = 10, 0.1  # seconds


@pytest.fixture
def slow_data(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = TensorSource.batches

    def batches(self, requests):
        for batch in quick(self, requests):
            time.sleep(WAIT)
            yield batch

    monkeypatch.setattr(TensorSource, "batches", batches)


def test_the_clock_includes_the_wait_for_data(slow_data: None, tmp_path: Path) -> None:
    play(tmp_path / "run", f"steps={STEPS}", "metric=none")
    found = summary(tmp_path / "run")
    assert found["seconds"] > STEPS * WAIT
    assert found["images_per_second"] < 32 / WAIT


def test_the_clock_excludes_callbacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(SamplePictures, "on_train_batch_end", lambda *_: time.sleep(3 / STEPS))
    play(tmp_path / "run", f"steps={STEPS}", "metric=none")
    assert summary(tmp_path / "run")["seconds"] < 2.5


def test_a_long_task_prints_an_estimate(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from ganlab.metrics import progress_bar

    clock = iter([0.0, 1.0, 4.0, 5.0])
    monkeypatch.setattr(progress_bar, "perf_counter", lambda: next(clock))
    with progress_bar.progress_bar("samples", 10_000) as done:
        done(50)
        done(50)  # 4 s for the first hundredth
        done(50)
    assert capsys.readouterr().out.split("\n")[0] == "10,000 samples: 7 min"
    clock = iter([0.0, 4.0])
    with progress_bar.progress_bar("samples", 200) as done:
        done(100)
    assert capsys.readouterr().out == ""


def test_a_run_prints_a_header_and_a_summary(tmp_path: Path, capsys) -> None:
    run_dir = tmp_path / "my run"
    play(Path(f'"{run_dir}"'), "steps=4", "trick=[ema,r1]", "metric=none")
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == str(run_dir)
    printed = dict(line[2:].split(maxsplit=1) for line in lines if line.startswith("  "))
    game = load(run_dir)
    for player in ("discriminator", "generator"):
        weights = sum(weight.numel() for weight in getattr(game, player).parameters())
        assert f"{player} mlp of {weights:,} weights" in printed["networks"]
    assert printed["data"] == "1,437 images of 1x8x8 (Digits), 32 a step"
    assert printed["game"] == "NonSaturating with r1, ema, steps 1 to 4"
    assert printed["device"] == "cpu, threads: 1, processes: 1, precision: 32-true"
    assert printed["more"] == f"python -m ganlab.sample 'run_dir={run_dir}'"
    assert printed["measured"] == f"nothing: python -m ganlab.evaluate 'run_dir={run_dir}' 'metric=[kid]'"
    assert "wandb" not in printed
    resume(Path(f'"{run_dir}"'), "steps=6", "logger=tensorboard")
    printed = capsys.readouterr().out
    assert "with r1, ema, steps 5 to 6" in printed
    assert printed.count(f"tensorboard --logdir '{run_dir}'") == 2


def test_only_loss_terms_are_added_to_the_loss_of_a_player() -> None:
    players = ("discriminator", "generator")
    assert player_of_loss("generator/adversarial", players) == "generator"
    assert player_of_loss("codes/discriminator/adversarial", players) == "discriminator"  # in a stage
    assert player_of_loss("encoder/adversarial", players) is None
    for other in ("generator/gradient_norm", "codes/generator/gradient_norm", "adaptive_augment/p", "weight"):
        assert player_of_loss(other, players) is None
