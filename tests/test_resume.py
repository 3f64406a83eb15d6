"""Resuming: however a run ended, the resumed one equals an uninterrupted one."""

from __future__ import annotations

import copy
import errno
import fcntl
import os
import random
import shlex
import signal
import threading
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict
from PIL import Image
from pytorch_lightning import Trainer
from support.commands import (
    QUICK,
    assert_same_run,
    bitwise_equal,
    checkpoint,
    finish,
    play,
    resume,
    rows,
    start,
    summary,
)
from support.daily_sample import daily_cases, daily_choice, on_one_day_of
from support.refusals import refuses
from support.small_games import needs_pairs, options
from support.trick_effects import compatible_tricks

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.config.overrides import shell_override
from ganlab.config.resume import changed_keys
from ganlab.config.run_directory import RunDirectory
from ganlab.data.vision import Digits
from ganlab.filesystem import Lock
from ganlab.run import run
from ganlab.training.callbacks.stop import Stop
from ganlab.training.module import GameModule
from ganlab.training.play_run import start_run

STEPS = 48
SETTINGS = (
    *QUICK,
    "model.discriminator.dropout=0.5",
    "log_every=3",
    "checkpoint_every=6",
    "evaluate_every=24",
    f"steps={STEPS}",
)


def reached(run_dir: Path) -> int:
    """The last step in metrics.csv."""
    lines = (run_dir / "metrics.csv").read_text().splitlines() if (run_dir / "metrics.csv").exists() else []
    return int(lines[-1].split(",")[0]) if len(lines) > 1 and lines[-1][:1].isdigit() else 0


# Tricks that do not fit into the first two sets, and those that would take most of their time.
FEW = {
    "semi_supervised": ["semi_supervised", "generator_steps", "weight_norm", "unrolled"],
    "inverted_labels": ["inverted_labels", "packing"],
}


@cache
def killed_sets() -> list[list[str]]:
    """Sets of tricks that can act together, which between them hold every trick."""
    few = [trick for tricks in FEW.values() for trick in tricks]
    many = tuple(trick for trick in options("trick") if trick not in few and not needs_pairs(trick))
    first = compatible_tricks(many)
    return [first, compatible_tricks(tuple(sorted(many, key=first.__contains__))), *FEW.values()]


def test_every_trick_is_in_a_killed_run() -> None:
    of_pairs = set(filter(needs_pairs, options("trick")))  # for them there is a home in the contract
    assert {trick for tricks in killed_sets() for trick in tricks} == set(options("trick")) - of_pairs


KILL, INTERRUPT, TERMINATE = signal.SIGKILL, signal.SIGINT, signal.SIGTERM


LARGE_SETS = [
    ("alternating", 0, "non_saturating", (KILL, INTERRUPT, KILL)),
    ("simultaneous", 1, "non_saturating", (KILL, TERMINATE, KILL)),
]
SMALL_SETS = [("alternating", 2, "hinge", (KILL,)), ("shared", 3, "minimax", (KILL,))]


@pytest.mark.parametrize(
    ("play", "number", "objective", "signals"),
    daily_cases(map(daily_choice, (LARGE_SETS, SMALL_SETS)), [*LARGE_SETS, *SMALL_SETS]),
    ids=["alternating", "simultaneous", *FEW],
)
def test_a_killed_run_equals_an_uninterrupted_one(
    play: str, number: int, objective: str, signals: tuple[int, ...], tmp_path: Path
) -> None:
    tricks = killed_sets()[number]
    moments = random.Random(play)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = [*SETTINGS, f"play={play}", f"objective={objective}", f"trick=[{','.join(tricks)}]"]
    settings += ["trick.replay_buffer.size=100"] if "replay_buffer" in tricks else []
    settings += ["data.labelled=10"] if "semi_supervised" in tricks else []
    left_alone = start(*settings, f"run_dir={whole}")
    command = [*settings, f"run_dir={killed}"]
    for sent in signals:
        process = start(*command)
        last = reached(killed)
        until = last + moments.randint(7, 10)
        while process.poll() is None and reached(killed) < until:
            time.sleep(0.002)
        time.sleep(moments.random() * 0.05)
        process.send_signal(sent)
        code, _, err = finish(process)
        if sent != KILL:
            assert code == 0, err
            assert summary(killed)["status"] == "stopped"
            assert summary(killed)["reason"] == signal.Signals(sent).name
            assert checkpoint(killed)["state_dict"]["game._extra_state"]["step"] == summary(killed)["steps"]
        assert reached(killed) < STEPS, "the run was over before the signal came"
        command = [f"resume={killed}"] if (killed / "checkpoints" / "last.ckpt").exists() else command
    assert finish(start(*command))[0] == 0
    assert finish(left_alone)[0] == 0
    assert_same_run(whole, killed)
    assert [int(row["step"]) for row in rows(killed)] == list(range(3, STEPS + 1, 3))
    assert summary(killed)["metrics"] == summary(whole)["metrics"]


@on_one_day_of(2)
@pytest.mark.parametrize("play_", options("play"))
def test_a_finished_run_is_extended_as_if_it_had_been_longer(play_: str, tmp_path: Path) -> None:
    settings = [f"play={play_}", "trick=[ema,replay_buffer]", "trick.replay_buffer.size=100", "log_every=1"]
    play(tmp_path / "long", *settings, "steps=12", "evaluate_every=4")
    play(tmp_path / "short", *settings, "steps=8", "evaluate_every=4")
    resume(tmp_path / "short", "steps=12")
    assert_same_run(tmp_path / "long", tmp_path / "short")
    assert summary(tmp_path / "short")["steps"] == 12


def test_a_resume_from_any_checkpoint_is_exact(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=9", "checkpoint_every=3", "log_every=1")
    play(tmp_path / "other", "steps=9", "checkpoint_every=3", "log_every=1")
    resume(tmp_path / "other" / "checkpoints" / "previous.ckpt")
    assert [int(row["step"]) for row in rows(tmp_path / "other")] == list(range(1, 10))
    assert_same_run(tmp_path / "run", tmp_path / "other")


def test_a_truncated_checkpoint_gives_way_to_the_previous_one(tmp_path: Path, capsys) -> None:
    play(tmp_path / "run", "steps=9", "checkpoint_every=3", "log_every=1")
    play(tmp_path / "torn", "steps=9", "checkpoint_every=3", "log_every=1")
    last = tmp_path / "torn" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    capsys.readouterr()
    resume(tmp_path / "torn")
    assert (
        "last.ckpt is truncated or not a checkpoint; continuing from previous.ckpt" in capsys.readouterr().out
    )
    assert_same_run(tmp_path / "run", tmp_path / "torn")


def test_no_readable_checkpoint_is_refused(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(b"")
    with refuses(reason="has no checkpoint to continue from"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("tricks", ["[]", "[ema,instance_noise]"])
def test_evaluation_and_pictures_change_no_weight(tricks: str, tmp_path: Path) -> None:
    settings = ["steps=6", f"trick={tricks}", "model.discriminator.dropout=0.5", "log_every=100"]
    play(tmp_path / "often", *settings, "evaluate_every=1", "sample_every=1")
    play(tmp_path / "never", *settings, "metric=none", "sample_every=100")
    assert bitwise_equal(
        checkpoint(tmp_path / "often")["state_dict"], checkpoint(tmp_path / "never")["state_dict"]
    )


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
    with refuses("resume", str(tmp_path / "run"), f"but .*{named}.* would change", "init_from"):
        resume(tmp_path / "run", override)
    assert summary(tmp_path / "run")["status"] == "finished"


@pytest.mark.parametrize(
    ("override", "near"), [("trainer.device=2", "trainer.devices"), ("data.batchsize=2", "data.batch_size")]
)
def test_a_setting_that_nothing_reads_is_refused_with_the_nearest(
    override: str, near: str, tmp_path: Path
) -> None:
    play(tmp_path / "run", "steps=1", "metric=none")
    key = override.partition("=")[0]
    with refuses(key, "2", "there is no such setting", near):
        resume(tmp_path / "run", override)


def test_the_original_command_with_resume_continues(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2", "trick=ema")
    given = [
        *QUICK,
        "trick=ema",
        "steps=4",
        f"resume={tmp_path / 'run'}",
        "checkpoint_every=1",
        "log_every=1",
    ]
    from ganlab.config.compose import compose

    run(compose(*given), given)
    assert summary(tmp_path / "run")["steps"] == 4


def test_a_new_run_starts_from_old_weights(tmp_path: Path) -> None:
    play(tmp_path / "old", "steps=3")
    play(tmp_path / "new", f"init_from={tmp_path / 'old'}", "steps=1", "optimizer.generator.lr=1e-12")
    old, new = checkpoint(tmp_path / "old")["state_dict"], checkpoint(tmp_path / "new")["state_dict"]
    name = "game.generator.body.0.weight"
    assert (old[name] - new[name]).abs().max() < 1e-8
    assert summary(tmp_path / "new")["steps"] == 1
    with refuses(reason="these weights belong to another game: .*body"):
        play(tmp_path / "misfit", f"init_from={tmp_path / 'old'}", "model.generator.hidden=[3]")
    assert not (tmp_path / "misfit").exists()


def test_a_run_killed_before_its_first_checkpoint_starts_over(tmp_path: Path) -> None:
    play(tmp_path / "whole", "steps=6", "log_every=1")
    process = start(
        *QUICK, "steps=1000000", "log_every=1", "checkpoint_every=1000000", f"run_dir={tmp_path / 'run'}"
    )
    while process.poll() is None and reached(tmp_path / "run") < 2:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    resume(tmp_path / "run", "steps=6")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_empty_folders_left_by_a_kill_are_reused(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    play(tmp_path / "run", "steps=1")
    assert summary(tmp_path / "run")["status"] == "finished"


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("tricks", ["[]", "[ema,r1,virtual_batch_norm]"])
def test_other_precisions_resume_exactly(precision: str, tricks: str, tmp_path: Path) -> None:
    settings = [f"trainer.precision={precision}", f"trick={tricks}", "log_every=1", "metric=none"]
    play(tmp_path / "long", *settings, "steps=8")
    play(tmp_path / "short", *settings, "steps=4")
    resume(tmp_path / "short", "steps=8")
    assert_same_run(tmp_path / "long", tmp_path / "short")


def test_a_further_rank_of_a_resumed_run_that_began_with_init_from(tmp_path: Path) -> None:
    play(tmp_path / "first", "steps=2")
    play(tmp_path / "second", "steps=2", f"init_from={tmp_path / 'first'}")
    cfg = RunDirectory(tmp_path / "second").config()
    cfg.resume = str(tmp_path / "second")
    (tmp_path / "second" / "config.yaml").write_text("changed: since then")
    assert start_run(cfg).start_step == 2  # as `play_in_started_process` makes it


def test_a_run_can_be_played_outside_the_main_thread(tmp_path: Path) -> None:
    thread = threading.Thread(target=play, args=(tmp_path / "run", "steps=2"))
    thread.start()
    thread.join()
    assert summary(tmp_path / "run")["status"] == "finished"


def test_a_second_signal_is_not_handed_to_lightning() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        Stop(10)._on_signal(signal.SIGTERM, None)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@on_one_day_of(2)
def test_a_run_whose_data_worker_was_killed_fails_with_one_line_and_resumes(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    for i in range(12):
        Image.effect_noise((8, 8), 40 + i).save(root / f"{i}.png")
    settings = [*QUICK, "data=folder", f"data.root={root}", "data.height=8", "data.channels=1"]
    settings += ["data.batch_size=4", "data.in_memory=false", "metric=none", "log_every=1"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    often = ["checkpoint_every=3", "sample_every=1000000"]
    process = start(*settings, *often, f"run_dir={killed}", "steps=1000000")
    while process.poll() is None and reached(killed) < 9:
        time.sleep(0.01)
    readers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(readers) == 2
    os.kill(int(readers[0]), KILL)
    code, _, err = finish(process)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "has died" in err
    assert summary(killed)["status"] == "failed"
    assert not any(Path(f"/proc/{reader}/exe").exists() for reader in readers)
    steps = checkpoint(killed)["state_dict"]["game._extra_state"]["step"] + 3
    resume(killed, f"steps={steps}", "sample_every=1000000")
    given = [*settings, *often, f"run_dir={whole}", f"steps={steps}"]
    run(compose(*given), given)
    assert_same_run(whole, killed)


def test_metrics_of_the_summary_record_their_step(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=4", "evaluate_every=2")
    assert {record["step"] for record in summary(tmp_path / "run")["metrics"].values()} == {4}
    process = start(f"resume={tmp_path / 'run'}", "steps=1000000", "evaluate_every=1000000")
    while process.poll() is None and reached(tmp_path / "run") < 50:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    finish(process)
    found = summary(tmp_path / "run")
    assert found["status"] == "stopped"
    assert {record["step"] for record in found["metrics"].values()} == {4}
    assert found["steps"] > 4


def test_a_setting_that_the_default_config_lacks_can_be_changed(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for i in range(20):
            Image.new("L", (8, 8), i * 10).save(root / name / f"{i}.png")
    settings = ["data=folder", f"data.root={root}", "data.height=8", "data.channels=1", "steps=2"]
    play(tmp_path / "run", *settings)
    root.rename(tmp_path / "elsewhere")
    code, _, err = finish(
        start(f"resume={tmp_path / 'run'}", f"data.root={tmp_path / 'elsewhere'}", "steps=3")
    )
    assert code == 0, err
    code, _, err = finish(start(f"resume={tmp_path / 'run'}", "data.channels=3", "steps=4"))
    assert code == 2
    assert "data.channels would change" in err
    Image.new("L", (8, 8)).save(tmp_path / "elsewhere" / "a" / "new.png")
    code, _, err = finish(
        start(f"resume={tmp_path / 'run'}", f"data.root={tmp_path / 'elsewhere'}", "steps=4")
    )
    assert code == 2
    assert "was trained on 40 samples, but there are 41 now" in err


def test_the_best_checkpoint_has_the_best_metric(tmp_path: Path) -> None:
    names = {"fid": "fid/digits_train_100", "is/digits": "is/digits_100", "is/digits_100": "is/digits_100"}
    for monitor, best in (("fid", min), ("is/digits", max), ("is/digits_100", max)):
        run_dir = tmp_path / monitor.replace("/", "_")
        play(run_dir, "steps=12", "evaluate_every=2", "log_every=2", f"monitor={monitor}")
        values = {
            int(row["step"]): float(row[names[monitor]]) for row in rows(run_dir) if row[names[monitor]]
        }
        step = checkpoint(run_dir, "best")["state_dict"]["game._extra_state"]["step"]
        assert values[step] == best(values.values())


def test_a_run_with_only_a_best_checkpoint_starts_over(tmp_path: Path) -> None:
    # Evaluation may come before the first regular checkpoint, and the kill between the two.
    settings = ["log_every=1", "evaluate_every=2"]
    play(tmp_path / "whole", *settings, "steps=6")
    play(tmp_path / "run", *settings, "steps=3")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").unlink()
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()
    resume(tmp_path / "run", "steps=6")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_run_is_played_by_one_process_at_a_time(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2", "log_every=1")
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    lock = Lock(tmp_path / "run" / "lock")
    reader = os.fork()
    if reader == 0:  # like a data worker, which may outlive the process of the run
        time.sleep(60)
        os._exit(0)
    try:
        with refuses(reason=f"is in use by process {os.getpid()} of .* since 20"):
            resume(tmp_path / "run", "steps=4")
        assert (tmp_path / "run" / "metrics.csv").read_bytes() == before
        assert summary(tmp_path / "run")["status"] == "finished"
        lock.release()
        resume(tmp_path / "run", "steps=4")
    finally:
        os.kill(reader, KILL)
        os.waitpid(reader, 0)
    assert (tmp_path / "run" / "lock").read_text() == ""
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == [1, 2, 3, 4]


def test_a_new_run_that_another_process_plays_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lock = Lock(tmp_path / "run" / "lock")
    with refuses(reason="is in use by"):
        play(tmp_path / "run", "steps=2")
    assert (tmp_path / "run" / "lock").exists()
    lock.release()


def test_a_file_system_without_locks_is_accepted(tmp_path: Path, monkeypatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    play(tmp_path / "run", "steps=1")
    assert summary(tmp_path / "run")["status"] == "finished"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=1")
    (tmp_path / "mine").write_text("keep")
    (tmp_path / "run" / "lock").unlink()
    (tmp_path / "run" / "lock").symlink_to(tmp_path / "mine")
    with refuses("run_dir", reason="lock .Too many levels of symbolic links"):
        resume(tmp_path / "run", "steps=2")
    assert (tmp_path / "mine").read_text() == "keep"


def test_leftovers_of_a_run_killed_before_its_first_file_are_reused(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml.part", "lock", "checkpoints/next.ckpt.part"):
        (tmp_path / "run" / name).write_text("half")
    play(tmp_path / "run", "steps=1")
    assert summary(tmp_path / "run")["status"] == "finished"


def test_a_flipped_bit_gives_way_to_the_previous_checkpoint(tmp_path: Path, capsys) -> None:
    play(tmp_path / "run", "steps=9", "checkpoint_every=3", "log_every=1")
    play(tmp_path / "flipped", "steps=9", "checkpoint_every=3", "log_every=1")
    last = tmp_path / "flipped" / "checkpoints" / "last.ckpt"
    weights = checkpoint(tmp_path / "flipped")["state_dict"]["game.generator.body.0.weight"].numpy().tobytes()
    content = bytearray(last.read_bytes())
    content[content.index(weights) + 2] ^= 1  # torch loads it, with another weight
    last.write_bytes(content)
    capsys.readouterr()
    resume(tmp_path / "flipped")
    assert (
        "last.ckpt is damaged: a checksum does not match; continuing from previous.ckpt"
        in capsys.readouterr().out
    )
    assert_same_run(tmp_path / "run", tmp_path / "flipped")


def test_another_number_of_threads_is_reported(tmp_path: Path, capsys) -> None:
    play(tmp_path / "run", "steps=2")
    capsys.readouterr()
    torch.set_num_threads(2)
    try:
        resume(tmp_path / "run", "steps=3")
    finally:
        torch.set_num_threads(1)
    assert "resuming with threads 2 (1 before): the last bits may differ" in capsys.readouterr().out
    assert summary(tmp_path / "run")["threads"] == 2
    assert summary(tmp_path / "run")["before"] == [{"steps": 2, "threads": 1}]
    resume(tmp_path / "run", "steps=4")
    assert summary(tmp_path / "run")["before"][1:] == [{"steps": 3, "threads": 2}]


def test_other_data_of_the_same_length_are_refused(tmp_path: Path, monkeypatch) -> None:
    play(tmp_path / "run", "steps=2")
    assert summary(tmp_path / "run")["data_sha256"] == build_data(compose("data=digits")).fingerprint()
    one = Digits.__init__

    def changed(self: Digits, *given: object, **named: object) -> None:
        one(self, *given, **named)
        self.sources["train"].x[0, 0, 0, 0] ^= 1

    with monkeypatch.context() as patched:
        patched.setattr(Digits, "__init__", changed)
        reason = "was trained on data of SHA-256 .{12}, but it is .{12} now"
        with refuses("resume", str(tmp_path / "run"), reason, "restore the data"):
            resume(tmp_path / "run", "steps=4")
    assert summary(tmp_path / "run")["status"] == "finished"
    resume(tmp_path / "run", "steps=4")


def test_classes_of_other_names_are_refused(tmp_path: Path, monkeypatch) -> None:
    def name_classes(names: str) -> None:
        fixed = property(lambda data: tuple(names), lambda data, value: None)
        monkeypatch.setattr(Digits, "class_names", fixed)

    name_classes("abcdefghij")
    play(tmp_path / "run", "steps=2")
    assert RunDirectory(tmp_path / "run").config().class_names == list("abcdefghij")
    resume(tmp_path / "run", "steps=3")
    name_classes("bcdefghijz")
    with refuses("resume", reason=r"on the classes \['a', 'b'.*but they are \['b', 'c'"):
        resume(tmp_path / "run", "steps=4")


def test_a_group_without_its_own_node_does_not_change_class_names(tmp_path: Path) -> None:
    cfg = compose("data=digits")
    saved = copy.deepcopy(cfg)
    with open_dict(saved):
        saved.class_names = ["a", "b"]
    override = OverridesParser.create().parse_override("experiment=pacgan_modes")
    assert list(changed_keys(override, cfg, saved)) == []


@pytest.mark.parametrize(
    "name", ["my run", "20261121", "lr=3", "Bilder_ä", "it's", 'a"b', "x,y", "null", "(1)"]
)
def test_the_resume_override_can_be_pasted_into_a_shell(name: str, tmp_path: Path) -> None:
    (word,) = shlex.split(shell_override("resume", name))
    assert OverridesParser.create().parse_override(word).value() == name


def test_a_stopped_run_prints_the_command_that_resumes_it(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Stop, "on_train_batch_end", stopped)
    play(Path('"my lr=3"'), "steps=9")
    line = next(line for line in capsys.readouterr().out.splitlines() if "resume " in line)
    _, _, _, module, *words = shlex.split(line)
    assert module == "ganlab.run"
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    run(compose(*words), words)
    assert summary(Path("my lr=3"))["steps"] == 9


def stopped(self: Stop, trainer: Trainer, module: GameModule, *_: object) -> None:
    self.signal, trainer.should_stop = "SIGTERM", True
