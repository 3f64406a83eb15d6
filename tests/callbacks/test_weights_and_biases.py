"""What W&B receives, read from its own offline files."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import QUICK, finish, play, resume, rows, start, summary
from support.daily_sample import on_one_day_of
from support.refusals import refuses

from ganlab.training.callbacks.tensorboard import TensorBoard
from ganlab.training.callbacks.weights_and_biases import environment_mode


def records(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: a header of 7 bytes, then blocks of 32 KiB in LevelDB's log format."""
    data, block, kept = path.read_bytes(), 32768, b""
    at = 7
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        kept += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of its parts
            yield kept
            kept = b""


@on_one_day_of(2)
def test_an_offline_run_prints_no_warning(tmp_path: Path) -> None:
    code, _, err = finish(start(*QUICK, "steps=1", "logger=wandb", f"run_dir={tmp_path / 'run'}"))
    assert (code, err) == (0, "")


@pytest.mark.parametrize("folder", ["wandb", ".wandb"])
def test_settings_of_a_foreign_run_are_refused(folder: str, tmp_path: Path, monkeypatch) -> None:
    play(tmp_path / "run", "steps=1", "metric=none")
    monkeypatch.chdir(tmp_path / "run")
    Path(folder).mkdir()
    Path(folder, "settings").write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    Path("signature").unlink()
    with refuses(
        reason=f"^{re.escape(folder)}/settings would tell W&B where to send your key", remedy="remove it"
    ):
        resume(Path(), "steps=2", "logger=wandb", "logger.wandb.mode=offline")


def parts(run_dir: Path) -> list:
    """The run records of all parts of a run."""
    from wandb.proto import wandb_internal_pb2 as messages

    found = []
    for file in sorted(run_dir.glob("wandb/offline-run-*/*.wandb")):
        for data in records(file):
            record = messages.Record()
            record.ParseFromString(data)
            found += [record.run] if record.WhichOneof("record_type") == "run" else []
    return found


def logged(run_dir: Path) -> tuple[set[str], list[dict]]:
    """The ids of the W&B runs, and every row of their history."""
    from wandb.proto import wandb_internal_pb2 as messages

    ids, history = set(), []
    for file in sorted(run_dir.glob("wandb/offline-run-*/*.wandb")):
        for data in records(file):
            record = messages.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            elif record.WhichOneof("record_type") == "history":
                items = {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
                history.append({name: json.loads(value) for name, value in items.items()})
    return ids, history


def test_a_resumed_run_continues_its_own_history(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_dir = tmp_path / "run"
    play(run_dir, "logger=wandb", "steps=4", "log_every=1", "sample_every=2")
    resume(run_dir, "steps=6", "views=[interpolate,animate]")
    ids, history = logged(run_dir)
    assert ids == {summary(run_dir)["wandb_run_id"]}
    losses = [row for row in history if "generator/adversarial" in row]
    assert [row["step"] for row in losses] == [1, 2, 3, 4, 5, 6]
    for row, stored in zip(losses, rows(run_dir), strict=True):
        assert row["generator/adversarial"] == pytest.approx(float(stored["generator/adversarial"]))
    assert [row["step"] for row in history if "samples/_type" in row or "samples" in row] == [2, 4, 6]
    assert any("fid/digits_train_100" in row for row in history)
    for view, file in {"interpolate": "0000006_n64_seed0_interpolate.png", "animate": "training.gif"}.items():
        assert (run_dir / "samples" / file).is_file()
        assert [row["step"] for row in history if any(name.split("/")[0] == view for name in row)] == [6]


def test_steps_that_are_played_again_are_not_logged_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_dir = tmp_path / "run"
    play(run_dir, "logger=wandb", "steps=4", "log_every=1", "sample_every=1", "checkpoint_every=2")
    resume(run_dir / "checkpoints" / "previous.ckpt", "steps=3")  # as if killed a second time
    resume(run_dir / "checkpoints" / "last.ckpt", "steps=5")
    history = logged(run_dir)[1]
    assert [row["step"] for row in history if "generator/adversarial" in row] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in history if "samples/_type" in row or "samples" in row] == [1, 2, 3, 4, 5]


def test_a_silent_server_costs_no_more_than_the_timeout(monkeypatch) -> None:
    from ganlab.training.callbacks import weights_and_biases

    monkeypatch.setattr(weights_and_biases, "PATIENCE", 0.5)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(4)  # it accepts connections, and sends nothing
        began = time.monotonic()
        assert not weights_and_biases.server_answers(f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert time.monotonic() - began < 2


def test_an_error_status_is_an_answer(tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from ganlab.training.callbacks.weights_and_biases import server_answers

    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # it refuses every request
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert server_answers(f"http://127.0.0.1:{server.server_port}")


@on_one_day_of(2)
def test_a_run_that_the_server_rejects_stays_offline(tmp_path: Path, monkeypatch, capsys) -> None:
    """Such as a server that answers once and then falls silent."""
    from ganlab.training.callbacks import weights_and_biases

    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(weights_and_biases, "server_answers", lambda url: True)
    monkeypatch.setattr(weights_and_biases, "PATIENCE", 1)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(4)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        play(tmp_path / "run", "logger=wandb", "steps=2", "log_every=1")
    assert "logging to W&B offline" in capsys.readouterr().out
    assert logged(tmp_path / "run")[1]


def test_disabled_mode_writes_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    play(tmp_path / "run", "logger=wandb", "steps=1")
    assert not list((tmp_path / "run").rglob("*.wandb"))


@on_one_day_of(2)
def test_jobs_of_a_sweep_have_runs_of_their_own(tmp_path: Path) -> None:
    sweep = f"run_dir={tmp_path / 'sweep'}"
    code, _, err = finish(start("-m", "seed=0,1", *QUICK, "logger=wandb", "steps=1", sweep, cwd=tmp_path))
    assert code == 0, err
    ids = [logged(config.parent)[0] for config in (tmp_path / "sweep").rglob("config.yaml")]
    assert [len(of_job) for of_job in ids] == [1, 1]
    assert ids[0] != ids[1]


def test_an_unreachable_server_is_reported(monkeypatch, capsys) -> None:
    from ganlab.training.callbacks.weights_and_biases import is_reachable

    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert not is_reachable()
    assert "does not answer: logging to W&B offline" in capsys.readouterr().out


@on_one_day_of(3)
def test_a_run_with_a_key_but_no_server_logs_offline(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    code, out, err = finish(start(*QUICK, "logger=wandb", "steps=2", f"run_dir={tmp_path / 'run'}"))
    assert code == 0, err
    assert "127.0.0.1 does not answer: logging to W&B offline" in out
    assert time.monotonic() - began < 60  # wandb by itself: 100 s
    ids, history = logged(tmp_path / "run")
    assert ids == {summary(tmp_path / "run")["wandb_run_id"]}
    assert history


def test_csv_does_not_import_wandb(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys; from ganlab.config.compose import compose; from ganlab.run import run\n"
        "run(compose('logger=csv', 'steps=1', 'metric=none', 'run_dir=run'))\n"
        "assert 'wandb' not in sys.modules and 'tensorboard' not in sys.modules"
    )
    code, _, err = finish(start(module=("program",), cwd=tmp_path))
    assert code == 0, err


@pytest.mark.parametrize("mode", ["off", "false", "none", "OFFLINE "])
def test_an_unknown_mode_is_refused_before_anything_is_built(mode: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setattr("ganlab.config.prepare.build_data", lambda cfg: pytest.fail("data were built"))
    with refuses("WANDB_MODE", mode, "must be online, offline or disabled", "logger=csv"):
        play(tmp_path / "run", "logger=wandb", "logger.wandb.mode=offline", "steps=1")
    monkeypatch.setenv("WANDB_MODE", "")
    for typed in ("off", "null", "''"):
        with refuses("logger.wandb.mode", reason="must be one of auto, online, offline"):
            play(tmp_path / "run", "logger=wandb", f"logger.wandb.mode={typed}", "steps=1")
    with pytest.raises(pytest.fail.Exception):  # the mode does not concern another logger
        play(tmp_path / "run", "steps=1")
    assert not (tmp_path / "run").exists()


def test_an_empty_mode_is_unset_and_the_old_variable_disables(monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "")
    assert environment_mode() is None
    monkeypatch.setenv("WANDB_DISABLED", "false")
    assert environment_mode() is None
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert environment_mode() == "disabled"


def test_environment_variables_apply_or_are_reported(tmp_path: Path, monkeypatch, capsys) -> None:
    for name in ("PROJECT", "ENTITY", "RUN_GROUP", "JOB_TYPE", "NAME", "DIR"):
        monkeypatch.setenv(f"WANDB_{name}", f"my-{name.lower()}")
    play(tmp_path / "run", "logger=wandb", "logger.wandb.job_type=given", "steps=1", "metric=none")
    (run,) = parts(tmp_path / "run")
    assert (run.project, run.entity, run.display_name) == ("my-project", "my-entity", "my-name")
    assert (run.run_group, run.job_type) == ("my-run_group", "given")
    out = capsys.readouterr().out
    assert f"WANDB_DIR have no effect: the W&B run belongs to {tmp_path / 'run'}" in out
    assert (
        out.count(f"wandb       offline; wandb sync {tmp_path / 'run'}/wandb/offline-run-*") == 1
    )  # at the end
    assert (
        out.count(f"wandb     offline; wandb sync {tmp_path / 'run'}/wandb/offline-run-*") == 1
    )  # at the start


def test_settings_pass_through_and_files_become_artifacts(tmp_path: Path, monkeypatch) -> None:
    from wandb.proto import wandb_internal_pb2 as messages

    monkeypatch.setenv("WANDB_NOTES", "from the variable")
    added = (
        "+trick=r1",
        "logger.wandb.tags=[a,b]",
        "logger.wandb.name=mine",
        "+logger.wandb.save_code=false",
    )
    play(tmp_path / "run", "logger=wandb", *added, "logger.wandb.artifacts=true", "steps=1", "metric=none")
    (run,) = parts(tmp_path / "run")
    assert (run.display_name, list(run.tags), run.notes) == ("mine", ["a", "b"], "from the variable")
    config, files = {}, {}
    (file,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    for data in records(file):
        record = messages.Record()
        record.ParseFromString(data)
        config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        artifact = record.request.log_artifact.artifact
        artifact = artifact if artifact.name else record.artifact
        if artifact.name:
            files[artifact.type] = {entry.path for entry in artifact.manifest.contents}
    assert config["optimizer.generator.lr"] > 0
    assert config["trick"] == "r1"
    assert config["model.generator.hidden"].startswith("[")
    assert {"seed", "data.batch_size", "commit"} <= config.keys()
    assert files["samples"] == {"0000001.png"}
    assert "last.ckpt" in files["model"]


@pytest.mark.parametrize(
    ("setting", "reason", "remedy"),
    [
        ("+logger.wandb.tagz=[a]", "is no argument of wandb.init", "write tags"),
        ("+logger.wandb.dir=/tmp", "is set by ganlab", "choose from|write"),
    ],
)
def test_settings_that_wandb_lacks_or_ganlab_sets_are_refused(
    setting: str, reason: str, remedy: str, tmp_path: Path
) -> None:
    key = setting.lstrip("+").partition("=")[0]
    with refuses(key, reason=reason, remedy=remedy):
        play(tmp_path / "run", "logger=wandb", setting, "steps=1", "metric=none")
    assert not (tmp_path / "run").exists()


def test_tensorboard_compares_the_settings_of_runs(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    play(tmp_path / "run", "logger=tensorboard", "steps=2", "log_every=1")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    metric = next(name for name in summary(tmp_path / "run")["metrics"])
    assert events.Scalars(metric)[-1].value == pytest.approx(
        summary(tmp_path / "run")["metrics"][metric]["value"]
    )
    assert events.Images("samples")
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert started.hparams["optimizer.generator.lr"].number_value > 0
    assert started.hparams["data.batch_size"].number_value > 0


def test_a_name_that_wandb_rejects_is_refused_with_its_message(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    with refuses("logger", "wandb", "Invalid project name 'a/b'", "correct it, or set logger=csv"):
        play(tmp_path / "run", "logger=wandb", "steps=1", "metric=none")
    assert not (tmp_path / "run").exists()


def test_a_logger_that_fails_at_the_end_does_not_fail_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    calls = []

    def fails(self: object, status: str) -> None:
        calls.append(status)
        if len(calls) > 1:  # the first is Lightning's
            raise RuntimeError("no more")

    monkeypatch.setattr(TensorBoard, "finalize", fails)
    play(tmp_path / "run", "logger=tensorboard", "steps=1", "metric=none")
    assert summary(tmp_path / "run")["status"] == "finished"
    assert "TensorBoard could not end: no more" in capsys.readouterr().err


def test_wandb_sends_the_parts_of_a_run_in_their_order() -> None:
    """This is why a run prints one command for all of its parts."""
    from wandb.cli.cli import sync

    helps = " ".join(" ".join((getattr(option, "help", "") or "").split()) for option in sync.params)
    assert "part of the same run, the files are synced sequentially in order of start time" in helps
