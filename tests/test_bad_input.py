"""Bad input: one clear line that says what to do, a non-zero exit, no traceback, and nothing is lost."""

from __future__ import annotations

import errno
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from pytorch_lightning import Trainer
from support.commands import QUICK, checkpoint, finish, go_on, play, rows, start, start_cold, summary

from ganlab.config import run_directory
from ganlab.config.compose import compose
from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import ConfigError, Diverged
from ganlab.training.callbacks.log_scalars import LogScalars
from ganlab.training.callbacks.progress import ResumeClock
from ganlab.training.module import GameModule
from ganlab.tricks.base import Trick

UNIFORM = "{_target_:ganlab.networks.initial.Uniform"
LINES = {  # a command line, and what its one line of error must name
    "model=mystery": "model=mystery: no model is called so; there are dcgan, gan, .*gmn",
    "trick=mystery": "trick=mystery: no trick is called so.*label_smoothing",
    "stepz=3": "stepz=3: no setting is called stepz; the nearest: steps$",
    "trick.ema.decay=0.9": "trick.ema.decay=0.9: .* it is one of trick=ema: add that first",
    "steps=-5": "steps=-5 must be a whole number of at least 1",
    "steps=many": "steps=many must be a whole number",
    "seed=-1": "seed=-1 must be a whole number of at least 0",
    "data.batch_size=0": "batch_size=0",
    "data.batch_size=5000": "batch_size=5000 exceeds the 1437 training samples",
    "trick=label_smoothing trick.label_smoothing.real=2": "real=2 must lie strictly between 0.5 and 1",
    "trick=ema trick.ema.decay=2": "trick.ema.decay=2 must lie strictly between 0 and 1",
    "trick=label_smoothing objective=hinge": "label_smoothing needs targets",
    "trick=label_smoothing objective=mmd": "label_smoothing needs targets",
    "trick=virtual_batch_norm model.generator.batch_norm=false": "needs a generator with batch norm",
    "trick=label_conditioning data=ring data.num_classes=null metric=none": "num_classes|needs labels",
    "data=mnist data.root=nowhere": "nowhere",
    "data=folder data.root=nowhere": "nowhere",
    "data=ring model=dcgan": "even sides of at least 8, not shape \\[2\\]",
    "extractor=mnist": "\\(N, 1, 28, 28\\)|28",
    "images=abc": "images=abc must be a whole number",
    "images=-5": "images=-5 must be a whole number of at least 1",
    "evaluation.n=abc": "evaluation.n=abc must be a whole number",
    "data.batch_size=2.5": "batch_size=2.5 must be a whole number",
    "data.batch_size=1": "data.batch_size=1: leaves each process one sample, which batch norm",
    "clip.generator=abc": "clip.generator=abc must be a number",
    "trick=ema trick.ema.decay=abc": "trick.ema.decay=abc must be a number",
    "trick=ema trick.ema.players=[]": r"trick.ema.players=\[\] must be a list of 1 or more",
    "trick=ema trick.ema.players=[discriminator]": "the discriminator tells no classes",
    "trick=semi_supervised": "trick semi_supervised needs labelled samples beside the batch",
    "trick=semi_supervised data.labelled=15": "data.labelled=15 must be as many of each of the 10 classes",
    "trick=semi_supervised data.labelled=0": "data.labelled=0 must be a whole number of at least 1",
    "trick=semi_supervised data.labelled=5000": "but one has only",
    "metric=errors": "no discriminator that tells classes",
    "data.labelled=100": "data.labelled=100 would do nothing",
    "trick=r1 trick.r1.gamma=0": "gamma=0 would do nothing",
    "optimizer.generator.lr=abc": "optimizer.generator",
    "data._target_=5": "data._target_=5 must be a text",
    "~optimizer.generator": "~optimizer.generator takes away optimizer.generator, which is needed: leave it",
    "trainer.accelerator=nonsense": "nonsense",
    "+trainer.max_steps=3": "trainer.max_steps is not supported",
    "model.generator.batch_norm=no": "batch_norm=no must be true or false",
    "model.generator.hidden=[0]": r"model.generator.hidden=\[0\] must be",
    "model=dcgan model.generator.width=0": "model.generator.width=0 must be a whole number",
    "model.generator.shape=[1,16,16]": r"model.generator.shape=\[1, 16, 16\] contradicts data.shape",
    "=3": "=3 cannot be read: settings are given as key=value",
    "model.generator.value_range=[0,1]": "contradicts data.range",
    "data=ring metric=[fid,is]": "measure images, not these data",
    "resume=": "resume= is empty",
    "images=1000 steps=3": "images=1000 and steps=3 disagree",
    "trainer.devices=2": "trainer.devices=2 also needs trainer=ddp",
    "trainer.devices=0": "trainer.devices=0 must be",
    "trainer=ddp trick=replay_buffer": "replay_buffer needs a single process",
    "trainer=ddp data.batch_size=63": "data.batch_size=63 does not divide among 2 processes",
    "trainer.precision=16-mixed": "trainer.precision=16-mixed must be one of",
    "objective=mmd model.discriminator.slope=0.1": "model.discriminator.slope=0.1 would do nothing",
    "objective=mmd clip.discriminator=1": "clip.discriminator=1",
    "clip.generator=-1": "clip.generator=-1",
    f"objective=mmd initial.discriminator=[{UNIFORM},bound:1}}]": "initial.discriminator=.* does not play",
    f"initial.generator=[{UNIFORM},bound:0}}]": "initial.generator.0.bound=0 must be a positive number",
    "metric=parzen": "no split 'validation': .* data.validation",
    "metric=parzen data.validation=9 metric.parzen.widths=[0]": r"parzen.widths=\[0\] must be",
    "metric=parzen data.validation=9 metric.parzen.num_validation=1": "num_validation=1 must be",
    "optimizer.generator.lr=-1": "Invalid learning rate: -1",
    "evaluation.n=0": "evaluation.n=0",
    "evaluation.n=10": "fid/digits_train_10 of 10 fakes.* need 49",
    "resume=nowhere": "nowhere is not a run",
    "init_from=nowhere": "nowhere is not a run",
    "init_from=a resume=b": "init_from=a: cannot be combined with resume",
    "trick=[ema] +trick=r1": "\\+trick=r1 would be lost beside trick=\\[ema\\]: give all of them as one list",
    "data.range=[0,255]": r"data.range=\[0,255\]",
    "metric=[prdc] monitor=e": "monitor=e is not measured",
    "extractor=inception metric=none": "extractor has no effect: no metric uses it",
    "metric.weights=w.pth": "metric.weights=w.pth would do nothing: they are for extractor=inception",
    "views=[film]": "what=film must be one of grid, neighbours",
    "views=[{what:grid,columns:3}]": "columns has no effect with what=grid",
    "views=[{what:grid,root:there}]": "views: root=there has no effect at the end of a run",
    "data=ring views=interpolate": "views: interpolate shows images, and these data are none",
    "views=null": "views=null must be a text or a list",
    "views=-1": "views=-1 must be a text or a list",
    "trust=-1": "trust=-1 must be a list",
    "compile='\"x\"'": "compile=.* must be true or false",
    "compile=-0.5": "compile=-0.5 must be true or false",
    "profile=1e309": "profile=1e309 must be true or false",
    "trainer.sync_batchnorm=[]": r"trainer.sync_batchnorm=\[\] must be true or false",
    "model.discriminator.shape=-1": "model.discriminator.shape=-1 must be a list",
    "data.shape=${seed}": "data.shape=0 must be a list",
    "model.generator.latent_dim=true": "model.generator.latent_dim=true must be a whole number",
    "model.generator.hidden=[1.5]": r"model.generator.hidden=\[1.5\] must be a list, each a whole number",
    "data=ring data.std=nan metric=none": "data.std=nan must be a positive number",
    "data=cifar10 data.flip=maybe": "data.flip=maybe must be true or false",
    "+model.generator.widht=3": "model.generator.widht=3 would be read by nothing: .* takes",
    "clip=3": "clip=3 must be a mapping",
    "monitor=mystery": "monitor=mystery is not measured.*fid/digits",
}


@pytest.mark.parametrize("line", LINES)
def test_one_line_says_what_to_do(line: str, tmp_path: Path, capsys, monkeypatch) -> None:
    import re

    from ganlab.run import main

    monkeypatch.chdir(tmp_path)
    unfit = "model." if "dcgan" in line else "model.discriminator" if "mmd" in line else "none"
    small = [o for o in QUICK if o.split("=")[0] not in line and not o.startswith(unfit)]
    monkeypatch.setattr(
        "sys.argv", ["run", *small, *line.split(), *([] if "resume" in line else ["run_dir=new"])]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert re.search(LINES[line], error), error
    assert not (tmp_path / "new").exists() or not any((tmp_path / "new" / "checkpoints").iterdir())


def test_no_traceback_reaches_the_shell(tmp_path: Path) -> None:
    code, out, err = finish(start("trick=label_smoothing", "objective=hinge", cwd=tmp_path))
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("run: trick label_smoothing needs targets")


def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(ConfigError, match="exists and is not empty: resume="):
        play(tmp_path, "steps=2")
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run: it has no config.yaml"):
        go_on(tmp_path)


def folder_with(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "images" / "class"
    folder.mkdir(parents=True)
    for i in range(70):
        Image.new("L", (9, 8), i * 3).save(folder / f"{i}.png")
    (folder / name).write_bytes(b"this is no image")
    return folder.parent


def test_a_file_that_is_no_image_is_named_or_skipped(tmp_path: Path, capsys) -> None:
    root = folder_with(tmp_path, "broken.png")
    settings = ["data=folder", f"data.root={root}", "data.height=8", "data.channels=1", "steps=2"]
    with pytest.raises(ConfigError, match="broken.png"):
        play(tmp_path / "run", *settings)
    assert not (tmp_path / "run").exists()
    play(tmp_path / "run", *settings, "data.on_corrupt=skip")
    assert "skipped     1 files that are no images" in capsys.readouterr().out
    assert summary(tmp_path / "run")["status"] == "finished"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty"):
        play(tmp_path / "run", "data=folder", f"data.root={tmp_path / 'empty'}", "data.height=8")


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    leap = "{_target_: ganlab.core.schedules.Linear, start: 0.001, end: 1e30, steps: 1, after: 6}"
    with pytest.raises(Diverged, match="diverged at round"):
        play(
            tmp_path / "run",
            f"optimizer.discriminator.lr={leap}",
            "steps=40",
            "log_every=1",
            "checkpoint_every=2",
            "objective.weight.generator=1.0",
        )
    found = summary(tmp_path / "run")
    assert found["status"] == "diverged"
    assert "is nan" in found["reason"] or "is inf" in found["reason"] or "not finite" in found["reason"]
    good = checkpoint(tmp_path / "run")["state_dict"]
    assert 2 <= good["game._extra_state"]["step"] <= 8
    assert all(value.isfinite().all() for name, value in good.items() if not name.endswith("_extra_state"))


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=4", "log_every=1")
    before = (run_dir / "checkpoints" / "last.ckpt").read_bytes()

    def quota() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))

    code, _, err = finish(start_cold(f"resume={run_dir}", "steps=40", "checkpoint_every=5", preexec_fn=quota))
    assert code == 2
    assert "is full, or a quota reached" in err
    assert "Traceback" not in err
    assert (run_dir / "checkpoints" / "last.ckpt").read_bytes() == before
    assert summary(run_dir)["status"] == "failed"
    go_on(run_dir, "steps=6")
    assert [int(row["step"]) for row in rows(run_dir)] == [1, 2, 3, 4, 5, 6]


class Failing(Trick):
    def latents(self, latent, turn):
        raise RuntimeError("failing")


def test_nothing_is_left_of_a_run_that_failed_before_its_first_round(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the first round failed: .*failing"):
        play(tmp_path / "run", "+trick.mine._target_=test_bad_input.Failing")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", "- a\n- b\n", "is not the config of a run"),
        ("config.yaml", "a: [", "cannot be read"),
        ("metrics.csv", "", None),
        ("summary.json", "{", None),
    ],
)
def test_a_damaged_file_of_a_run(name: str, content: str, message: str | None, tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2")
    (tmp_path / "run" / name).write_text(content)
    if message is None:
        go_on(tmp_path / "run", "steps=3")
        assert summary(tmp_path / "run")["steps"] == 3
    else:
        with pytest.raises(ConfigError, match=message):
            go_on(tmp_path / "run", "steps=3")


@pytest.mark.parametrize("found", [None, 0, 2, "1", True])
def test_a_run_of_another_format_is_refused_with_its_version(found: object, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=2")
    config = run_dir / "config.yaml"
    first, rest = config.read_text().split("\n", 1)
    assert first == "format: 1"
    config.write_text(rest if found is None else f"format: {json.dumps(found)}\n{rest}")
    versions = summary(run_dir)["versions"] | {"torch-ganlab": "0.0.7"}
    (run_dir / "summary.json").write_text(json.dumps(summary(run_dir) | {"versions": versions}))
    before = config.read_bytes()
    with pytest.raises(
        ConfigError, match=f"config.yaml has format={found}, .* reads format 1: use ganlab 0.0.7 "
    ):
        go_on(run_dir, "steps=3")
    assert config.read_bytes() == before


def test_a_sweep_goes_on_after_a_job_that_failed(tmp_path: Path) -> None:
    small = [o for o in QUICK if "hidden" not in o]
    code, out, err = finish(
        start("-m", *small, "data.batch_size=1,0,8", "steps=1", f"run_dir={tmp_path / 'sweep'}", cwd=tmp_path)
    )
    assert code == 2
    assert len(err.splitlines()) == 2, err
    assert "Traceback" not in err
    (played,) = (tmp_path / "sweep").iterdir()
    assert played.name == "2_data.batch_size-8"
    assert summary(played)["status"] == "finished"
    command = summary(played)["command"].split()
    assert command[:4] == ["python", "-m", "ganlab.run", "logger=csv"]
    assert [word for word in command if "batch_size" in word] == ["data.batch_size=8"]
    table = [line.split() for line in out[out.index("job  overrides") :].splitlines()]
    assert [row[:3] for row in table] == [
        ["job", "overrides", "status"],
        ["0", "data.batch_size=1", "refused"],
        ["1", "data.batch_size=0", "refused"],
        ["2", "data.batch_size=8", "finished"],
    ]
    assert table[3][3] == "fid/digits_train_100"


def test_a_torn_row_of_the_metrics_is_cut(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=3", "log_every=1")
    with (run_dir / "metrics.csv").open("a") as file:
        file.write("4,128,0.12")
    go_on(run_dir, "steps=5")
    assert [int(row["step"]) for row in rows(run_dir)] == [1, 2, 3, 4, 5]


def test_code_from_elsewhere_is_not_run(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=2")
    config = run_dir / "config.yaml"
    for target in ("os.system", "ganlab.training.provenance.subprocess.run"):
        evil = f"trick:\n  evil:\n    _target_: {target}\n"
        config.write_text(
            config.read_text()
            .replace("trick: {}\n", evil)
            .replace("ganlab.training.provenance.subprocess.run", target)
        )
        with pytest.raises(ConfigError, match=f"the config builds {target}, which is not ganlab's"):
            go_on(run_dir, "steps=3")
        config.write_text(config.read_text().replace(evil, "trick: {}\n"))


def test_a_stub_that_an_override_left_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trick.ema has values but was not selected"):
        play(tmp_path / "run", "+trick.ema.decay=0.9")
    with pytest.raises(ConfigError, match="drop its values with '~metric.parzen'"):
        play(tmp_path / "run", "metric=none", "+metric.parzen.num_validation=10")


def gone(place: str, what: Callable[[Path], object]) -> Callable[..., None]:
    """A callback's hook that does something to the run directory after round 3."""

    def hook(self: ResumeClock, trainer: Trainer, module: GameModule, *_: object) -> None:
        if module.game.step == 3:
            what(Path(place))

    return hook


WHILE_PLAYED = {  # what becomes of a run directory, and what its one line must say
    "removed": (shutil.rmtree, "was removed or renamed while it was played: put it back, then .*resume="),
    "renamed": (lambda place: place.rename("elsewhere"), "was removed or renamed while it was played"),
    "no metrics": (
        lambda place: ((place / "metrics.csv").unlink(), (place / "metrics.csv").mkdir()),
        "run/.*: Is a directory: mend it, then .*resume=",
    ),
    "no samples": (
        lambda place: (shutil.rmtree(place / "samples"), (place / "samples").touch()),
        "run/samples/.*: Not a directory: mend it",
    ),
    "no checkpoints": (
        lambda place: (shutil.rmtree(place / "checkpoints"), (place / "checkpoints").touch()),
        "run/checkpoints/.*: Not a directory: mend it",
    ),
}


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("case", WHILE_PLAYED)
def test_a_run_directory_that_goes_while_it_is_played(case: str, tmp_path: Path, monkeypatch, capfd) -> None:
    what, message = WHILE_PLAYED[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ResumeClock, "on_train_batch_end", gone("run", what))
    every = ["log_every=1", "sample_every=4", "checkpoint_every=4", "metric=none"]
    with pytest.raises(ConfigError, match=message):
        play(Path("run"), "steps=9", *every, "logger=tensorboard")
    assert capfd.readouterr().err == ""
    if case.startswith("no"):
        assert summary(tmp_path / "run")["status"] == "failed"


@pytest.mark.parametrize("place", ["x" * 300, f"new/{'x' * 300}", "/proc/run", "file/run"])
def test_a_run_directory_that_cannot_be_made(place: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(ConfigError, match="run_dir=.* cannot be made: .*choose another"):
        play(Path(place), "steps=2")
    with pytest.raises(ConfigError, match="is not a run"):
        go_on(Path(place))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("file", ["config.yaml", "summary.json"])
def test_a_disk_that_is_full_at_the_start_keeps_no_directory(file: str, tmp_path: Path, monkeypatch) -> None:
    def full(path: Path, text: str) -> None:
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text(text)

    monkeypatch.setattr(run_directory, "write_beside", full)
    with pytest.raises(ConfigError, match="cannot be made: No space left on device"):
        play(tmp_path / "deep" / "run", "steps=2")
    assert not (tmp_path / "deep").exists()


def test_weights_that_explode_diverge(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="7: a weight of .*e.12 has exploded: it was 1 at first"):
        play(tmp_path / "run", "optimizer.generator.lr=1e12", "steps=9", "log_every=7", "metric=none")
    assert summary(tmp_path / "run")["status"] == "diverged"
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_losses_that_explode_diverge(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=4", "log_every=2")
    log = LogScalars(RunDirectory(run_dir), 1, Timetable(compose()))
    log.load_state_dict(checkpoint(run_dir)["callbacks"]["Log"])
    assert {name: len(values) for name, values in log.early.items()} == {
        "weight": 1,
        "discriminator/adversarial": 2,
        "generator/adversarial": 2,
    }
    for name in log.early:
        log.check(200, {name: 0.9e6})
        with pytest.raises(Diverged, match=f"a {name} of -3e.06 has exploded"):
            log.check(200, {name: -3e6})
    log.check(
        200, {"discriminator/gradient_norm": 1e9, "ada/probability": 1e9}
    )  # clipped, and told by a trick
    log.early["generator/adversarial"] = [5.0, 1e5, 5.0]
    with pytest.raises(Diverged):
        log.check(200, {"generator/adversarial": 6e6})
