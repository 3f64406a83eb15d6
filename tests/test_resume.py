"""Whatever ends a run, it goes on as if nothing had happened."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from commands import QUICK, assert_same_run, checkpoint, finish, go_on, play, rows, same, start, summary
from table import options
from test_contract import largest_set

from ganlab.errors import Refused
from ganlab.run import run

STEPS = 240
SETTINGS = (
    *QUICK,
    f"trick=[{','.join(largest_set())}]",
    "trick.replay_buffer.size=100",
    "trick.unrolled.steps=1",
    "model.discriminator.dropout=0.5",
    "log_every=5",
    "checkpoint_every=20",
    "evaluate_every=60",
    f"steps={STEPS}",
)


def reached(run_dir: Path) -> int:
    """The last round that is on file."""
    lines = (run_dir / "metrics.csv").read_text().splitlines() if (run_dir / "metrics.csv").exists() else []
    return int(lines[-1].split(",")[0]) if len(lines) > 1 and lines[-1][:1].isdigit() else 0


@pytest.mark.parametrize(
    ("play", "signals"),
    [
        ("alternating", [signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGKILL]),
        ("simultaneous", [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]),
    ],
)
def test_a_run_that_was_killed_is_the_run_that_was_not(play: str, signals: list[int], tmp_path: Path) -> None:
    moments = random.Random(play)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = [*SETTINGS, f"play={play}"]
    left_alone = start(*settings, f"run_dir={whole}")
    command = [*settings, f"run_dir={killed}"]
    for number in signals:
        process = start(*command)
        last = reached(killed)
        until = last + moments.randint(25, 50)
        while process.poll() is None and reached(killed) < until:
            time.sleep(0.002)
        time.sleep(moments.random() * 0.05)
        process.send_signal(number)
        code, _, err = finish(process)
        if number != signal.SIGKILL:
            assert code == 0, err
            assert summary(killed)["status"] == "stopped"
            assert summary(killed)["reason"] == signal.Signals(number).name
            assert checkpoint(killed)["state_dict"]["game._extra_state"]["step"] == summary(killed)["steps"]
        assert reached(killed) < STEPS, "the run was over before the signal came"
        command = [f"resume={killed}"] if (killed / "checkpoints" / "last.ckpt").exists() else command
    assert finish(start(*command))[0] == 0
    assert finish(left_alone)[0] == 0
    assert_same_run(whole, killed)
    assert [int(row["step"]) for row in rows(killed)] == list(range(5, STEPS + 1, 5))
    assert summary(killed)["metrics"] == summary(whole)["metrics"]


@pytest.mark.parametrize("play_", options("play"))
def test_a_finished_run_is_extended_as_if_it_had_been_longer(play_: str, tmp_path: Path) -> None:
    settings = [f"play={play_}", "trick=[ema,replay_buffer]", "trick.replay_buffer.size=100", "log_every=1"]
    play(tmp_path / "long", *settings, "steps=12", "evaluate_every=4")
    play(tmp_path / "short", *settings, "steps=8", "evaluate_every=4")
    go_on(tmp_path / "short", "steps=12")
    assert_same_run(tmp_path / "long", tmp_path / "short")
    assert summary(tmp_path / "short")["steps"] == 12


def test_any_checkpoint_goes_on_alike(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=9", "checkpoint_every=3", "log_every=1")
    play(tmp_path / "other", "steps=9", "checkpoint_every=3", "log_every=1")
    go_on(tmp_path / "other" / "checkpoints" / "previous.ckpt")
    assert [int(row["step"]) for row in rows(tmp_path / "other")] == list(range(1, 10))
    assert_same_run(tmp_path / "run", tmp_path / "other")


def test_a_truncated_checkpoint_gives_way_to_the_previous_one(tmp_path: Path, capsys) -> None:
    play(tmp_path / "run", "steps=9", "checkpoint_every=3", "log_every=1")
    play(tmp_path / "torn", "steps=9", "checkpoint_every=3", "log_every=1")
    last = tmp_path / "torn" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    capsys.readouterr()
    go_on(tmp_path / "torn")
    assert (
        "last.ckpt is truncated or not a checkpoint; going on from previous.ckpt" in capsys.readouterr().out
    )
    assert_same_run(tmp_path / "run", tmp_path / "torn")


def test_no_readable_checkpoint_is_refused(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(b"")
    with pytest.raises(Refused, match="has no checkpoint to go on from"):
        go_on(tmp_path / "run")


def test_evaluation_and_pictures_change_no_weight(tmp_path: Path) -> None:
    settings = ["steps=6", "trick=[ema,instance_noise]", "model.discriminator.dropout=0.5", "log_every=100"]
    play(tmp_path / "often", *settings, "evaluate_every=1", "sample_every=1")
    play(tmp_path / "never", *settings, "metric=none", "sample_every=100")
    assert same(checkpoint(tmp_path / "often")["state_dict"], checkpoint(tmp_path / "never")["state_dict"])


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("seed=3", "seed"),
        ("optimizer.generator.lr=0.5", "optimizer.generator.lr"),
        ("objective=hinge", "objective._target_"),
        ("trick=ema", "trick.ema._target_"),
        ("model=dcgan", "model.discriminator._target_"),
        ("data.batch_size=8", "data.batch_size"),
        ("play=simultaneous", "play._target_"),
        ("trainer.precision=bf16-mixed", "trainer.precision"),
    ],
)
def test_changed_hyper_parameters_are_refused_by_name(override: str, named: str, tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2")
    with pytest.raises(Refused, match=f"but .*{named}.* would change"):
        go_on(tmp_path / "run", override)
    assert summary(tmp_path / "run")["status"] == "finished"


def test_the_same_command_with_resume_goes_on(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2", "trick=ema")
    given = [
        *QUICK,
        "trick=ema",
        "steps=4",
        f"resume={tmp_path / 'run'}",
        "checkpoint_every=1",
        "log_every=1",
    ]
    from ganlab.cli import compose

    run(compose(*given), given)
    assert summary(tmp_path / "run")["steps"] == 4


def test_a_new_run_starts_from_old_weights(tmp_path: Path) -> None:
    play(tmp_path / "old", "steps=3")
    play(tmp_path / "new", f"init_from={tmp_path / 'old'}", "steps=1", "optimizer.generator.lr=1e-12")
    old, new = checkpoint(tmp_path / "old")["state_dict"], checkpoint(tmp_path / "new")["state_dict"]
    name = "game.generator.body.0.weight"
    assert (old[name] - new[name]).abs().max() < 1e-8
    assert summary(tmp_path / "new")["steps"] == 1
    with pytest.raises(Refused, match="these weights belong to another game: .*body"):
        play(tmp_path / "misfit", f"init_from={tmp_path / 'old'}", "model.generator.hidden=[3]")
    assert not (tmp_path / "misfit").exists()
