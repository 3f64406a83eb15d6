"""Bad input: one line with setting, reason and remedy, exit status 2, no traceback, no loss of data."""

from __future__ import annotations

import errno
import json
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from pytorch_lightning import Trainer
from support.commands import QUICK, checkpoint, finish, play, resume, rows, start, start_cold, summary
from support.daily_sample import A_THIRD, daily_share, on_one_day_of
from support.refusals import refuses

from ganlab import cli
from ganlab.config import run_directory
from ganlab.config.compose import compose
from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import UNSET, ConfigError, Diverged, format_value
from ganlab.training.callbacks.progress import ProgressBar
from ganlab.training.callbacks.record import LogScalars
from ganlab.training.module import GameModule
from ganlab.tricks.base import Trick

UNIFORM = "{_target_:ganlab.networks.initial.Uniform"
WHOLE, POSITIVE = "a whole number of at least 1", "a positive number"
SWITCH = "^must be true or false$"
# A command line, and the key, the reason and the remedy of its error.
REFUSED: dict[str, tuple[str, ...]] = {
    "model=mystery": ("model", "there is no such model", "choose one of ali, .*gmn"),
    "trick=mystery": ("trick", "there is no such trick", "label_smoothing"),
    "stepz=3": ("stepz", "there is no such setting", "try steps$"),
    "trick.ema.decay=0.9": ("trick.ema.decay", "there is no such setting", "add trick=ema first"),
    "+stages={low:3}": ("stages.low", "must be a mapping", r"give stages=\{low: \{steps: 1000\}\}$"),
    "+stages.low.clip.generator=1": ("stages.low", "lacks steps", r"add \+stages.low.steps=<number>$"),
    "+stages={low:{steps:3}} +stages.low.trick=[ema]": (
        "stages.low.trick",
        "must be a mapping",
        r"choose an option with \+trick@stages.low.trick=<name>$",
    ),
    "stages.low.batch_size=32": (
        "stages.low.batch_size",
        "there is no such setting",
        r"^add it as \+stages.low.batch_size$",
    ),
    "experiment=two_stages_digits stages.lwo.steps=3": (
        "stages.lwo.steps",
        "there is no such setting",
        r"^try stages.low.steps, or add it as \+stages.lwo.steps$",
    ),
    "experiment=two_stages_digits stages.low.optimizer.generator.rl=3": (
        "stages.low.optimizer.generator.rl",
        "there is no such setting",
        r"^try stages.low.optimizer.generator.lr",
    ),
    "experiment=two_stages_digits stages.low.optimizer.generator.betas=[0,1]": (
        "stages.low.optimizer.generator.betas",
        "there is no such setting",
        r"^add it as \+stages.low.optimizer.generator.betas$",
    ),
    "borrows.old=outputs/old": ("borrows.old", "there is no such setting", r"^add it as \+borrows.old$"),
    "borrows={old:nowhere}": ("borrows.old", "nowhere is not a run"),
    "experiment=cyclegan_digits games={ab:{},items:{}}": (
        "games.items",
        "is not a name, or is one of torch's",
    ),
    "experiment=cyclegan_digits games={ab:{},c:3}": (
        "games.c",
        "must be a mapping",
        r"give games=\{c: \{\}\}$",
    ),
    "steps=-5": ("steps", WHOLE),
    "steps=many": ("steps", WHOLE),
    "seed=-1": ("seed", "a whole number of at least 0"),
    "data.batch_size=0": ("data.batch_size", WHOLE),
    "trick=label_smoothing trick.label_smoothing.real=2": (
        "trick.label_smoothing.real",
        "strictly between 0.5 and 1",
    ),
    "trick=ema trick.ema.decay=2": ("trick.ema.decay", "strictly between 0 and 1"),
    "data=ring data.num_classes=null metric=none": (
        "data.num_classes",
        "contradicts the data",
        "set it to 8",
    ),
    "images=abc": ("images", WHOLE),
    "images=-5": ("images", WHOLE),
    "evaluation.n=abc": ("evaluation.n", "at least 1 and at most 10000000"),
    "data.batch_size=2.5": ("data.batch_size", WHOLE),
    "clip.generator=abc": ("clip.generator", "must be a number"),
    "trick=ema trick.ema.decay=abc": ("trick.ema.decay", "a number or a Schedule"),
    "trick=ema trick.ema.players=[critic]": ("trick.ema.players", "no such player"),
    "trick=ema trick.ema.players=[]": ("trick.ema.players", "a list of 1 or more"),
    "trick=semi_supervised data.labelled=0": ("data.labelled", WHOLE),
    "data.labelled=100": ("data.labelled", "has no effect", "semi_supervised"),
    "trick=r1 trick.r1.gamma=0": ("trick.r1.gamma", "no effect"),
    "optimizer.generator.lr=abc": ("optimizer.generator.lr", "must be a number"),
    "data._target_=5": ("data._target_", "must be a string", "'data._target_=\"5\"'"),
    "~optimizer.generator": ("optimizer.generator", "is required", "~optimizer.generator"),
    "trainer.accelerator=nonsense": ("", "nonsense", "HYDRA_FULL_ERROR=1"),
    "+trainer.max_steps=3": ("trainer.max_steps", "is not supported", "remove it"),
    "model.generator.batch_norm=no": ("model.generator.batch_norm", SWITCH),
    "model.generator.hidden=[0]": ("model.generator.hidden", f"a list, each {WHOLE}"),
    "model=dcgan model.generator.width=0": ("model.generator.width", WHOLE),
    "model.generator.shape=[1,16,16]": ("model.generator.shape", r"contradicts data.shape=\[1,8,8\]"),
    "=3": ("=3", "cannot be read", "write key=value"),
    "model.generator.value_range=[0,1]": ("model.generator.value_range", "contradicts data.range"),
    "resume=": ("resume", "is empty"),
    "images=1000 steps=3": ("images", "contradicts steps=3"),
    "trainer.devices=2": ("trainer.devices", "needs trainer=ddp"),
    "trainer.devices=0": ("trainer.devices", WHOLE),
    "trainer.precision=16-mixed": ("trainer.precision", "needs a GPU"),
    "objective=mmd model.discriminator.slope=0.1": ("model.discriminator.slope", "has no effect"),
    "clip.generator=-1": ("clip.generator", "at least 0"),
    f"initial.generator=[{UNIFORM},bound:0}}]": ("initial.generator.0.bound", POSITIVE),
    "metric=parzen data.validation=9 metric.parzen.widths=[0]": ("metric.parzen.widths", POSITIVE),
    "metric=parzen data.validation=9 metric.parzen.num_validation=1": (
        "metric.parzen.num_validation",
        "a whole number of at least 2 or null",
    ),
    "evaluation.n=0": ("evaluation.n", WHOLE),
    "resume=nowhere": ("", "nowhere is not a run: it has no config.yaml", "give the directory of a run"),
    "init_from=nowhere": ("", "nowhere is not a run"),
    "trick=[ema] +trick=r1": ("+trick", r"is lost next to trick=\[ema\]", "one list"),
    "data.range=[0,255]": ("data.range", "is not a value range of images"),
    "extractor=inception metric=none": ("extractor", "has no effect: no metric uses it"),
    "metric.weights=w.pth": ("metric.weights", "has no effect", "extractor=inception"),
    "views=[film]": ("views[0].what", "must be one of grid, neighbours"),
    "views=null": ("views", "must be a string or a list"),
    "views=-1": ("views", "must be a string or a list"),
    "trust=-1": ("trust", "must be a list"),
    "compile='\"x\"'": ("compile", SWITCH),
    "compile=-0.5": ("compile", SWITCH),
    "profile=1e309": ("profile", SWITCH),
    "trainer.sync_batchnorm=[]": ("trainer.sync_batchnorm", SWITCH),
    "model.discriminator.shape=-1": ("model.discriminator.shape", "must be a list"),
    "data.shape=${seed}": ("data.shape", "must be a list"),
    "model.generator.latent_dim=true": ("model.generator.latent_dim", WHOLE),
    "model.generator.hidden=[1.5]": ("model.generator.hidden", f"a list, each {WHOLE}"),
    "data=ring data.std=nan metric=none": ("data.std", POSITIVE),
    "data=cifar10 data.flip=maybe": ("data.flip", SWITCH),
    "+model.generator.widht=3": ("model.generator.widht", "has no such parameter", "width|hidden"),
    "clip=3": ("clip", "must be a mapping"),
    "data.batch_size=5000": ("data.batch_size", "exceeds the 1437 training samples", "lower it"),
    "trick=label_smoothing objective=hinge": ("trick", "needs an objective with targets, but Hinge has none"),
    "trick=label_smoothing objective=mmd": ("trick", "needs an objective with targets, but MMD has none"),
    "trick=virtual_batch_norm model.generator.batch_norm=false": ("trick", "a generator with batch norm"),
    "data=mnist data.root=nowhere": ("data.root", "does not contain MNIST"),
    "data=folder data.root=nowhere": ("data.root", "is not a folder", "a folder of images"),
    "data=ring model=dcgan": ("data.shape", "even sides of at least 8", "model=gan"),
    "data=ring data.range=[0,1] metric=none": ("data.range", "contradicts the data"),
    "data.batch_size=1": ("data.batch_size", "one sample, which batch norm cannot", "batch_norm=false"),
    "trick=ema trick.ema.players=[discriminator]": ("trick.ema.players", "without a class head"),
    "trick=semi_supervised": ("trick", "needs labelled samples", "data.labelled=100"),
    "trick=semi_supervised data.labelled=15": ("data.labelled", "10 classes", "a multiple of 10"),
    "trick=semi_supervised data.labelled=5000": ("data.labelled", "one class has only 141", "1410"),
    "trainer=ddp trick=replay_buffer": ("trick", "needs a single process"),
    "trainer=ddp data.batch_size=63": ("data.batch_size", "cannot be divided among 2 processes"),
    "objective=mmd clip.discriminator=1": ("clip.discriminator", "no discriminator"),
    "clip.encoder=1": ("clip.encoder", "no such setting", "add it as .clip.encoder"),
    "--config-dir=nowhere experiment=mine": ("--config-dir", "is not a folder"),
    "+clip.generatr=null": ("clip.generatr", "no generatr"),
    "+initial.generatr=[]": ("initial.generatr", "no generatr"),
    f"objective=mmd initial.discriminator=[{UNIFORM},bound:1}}]": (
        "initial.discriminator",
        "no discriminator",
    ),
    "optimizer.generator.lr=-1": ("optimizer.generator", "Invalid learning rate: -1"),
    "data=digits model=pix2pix": (
        "model.generator.condition",
        "data.condition, which is missing",
        "choose data with a condition: .*half_digits",
    ),
    "+model.third._target_=ganlab.networks.mlp.generator": ("model.third._target_", "no third"),
    "+stepz.trick=3": ("stepz.trick", "there is no such setting"),
    "model=ali +optimizer.encoder.lr=1": ("optimizer.encoder.lr", "no player encoder"),
    "objective=mmd optimizer.discriminator.lr=1": ("optimizer.discriminator.lr", "no discriminator"),
    "init_from=a resume=b": ("init_from", "cannot be combined with resume"),
    "views=[{what:grid,columns:3}]": ("views[0].columns", "has no effect with what=grid"),
    "views=[{what:grid,root:there}]": ("views[0].root", "has no effect at the end of a run"),
    "data=ring views=interpolate": ("views[0].what", "is for images"),
    "extractor=mnist": ("extractor", r"\[1, 28, 28\]"),
    "metric=errors": (
        "metric",
        "^the game has no discriminator that classifies$",
        "trick=semi_supervised or trick=auxiliary_classifier, or choose another metric$",
    ),
    "data=ring metric=[fid,is]": ("metric", "measures images", "metric=none"),
    "metric=parzen": ("metric", "no split 'validation'", "data.validation"),
    "evaluation.n=10": ("metric", "needs 49 samples", "metric=kid"),
    "metric=[prdc] monitor=e": ("monitor", "is not measured"),
    "monitor=mystery": ("monitor", "is not measured", "fid/digits"),
}
# A command line, and the one line on the terminal.
PRINTED = {
    "seed=-5": "^run: seed=-5: must be a whole number of at least 0$",
    "stepz=4": "^run: stepz=4: there is no such setting. Try steps.$",
    "resume=away": "^run: away is not a run: it has no config.yaml. Give the directory of a run.$",
}


def refused(line: str, folder: Path, capsys, monkeypatch) -> tuple[str, BaseException]:
    """What `python -m ganlab.run` prints for a command line that it must refuse, and its error."""
    from ganlab.run import run

    errors: list[BaseException] = []
    report = cli.Command.report
    monkeypatch.setattr(
        cli.Command, "report", lambda self, error: (errors.append(error), report(self, error))
    )
    monkeypatch.chdir(folder)
    unfit = (
        "model."
        if any(name in line for name in ("dcgan", "pix2pix", "cyclegan", "two_stages"))
        else "model.discriminator"
        if "mmd" in line
        else "none"
    )
    small = [o for o in QUICK if o.split("=")[0] not in line and not o.startswith(unfit)]
    new = [] if "resume" in line else ["run_dir=new"]
    monkeypatch.setattr("sys.argv", ["run", *small, *new, *line.split()])
    with pytest.raises(SystemExit) as ended:
        cli.launch("run", run)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1, printed
    assert not (folder / "new").exists() or not any((folder / "new" / "checkpoints").iterdir())
    return printed.strip(), errors[0]


@pytest.mark.parametrize("line", daily_share(REFUSED, A_THIRD))
def test_an_error_names_the_setting_the_reason_and_the_remedy(
    line: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    printed, error = refused(line, tmp_path, capsys, monkeypatch)
    with refuses(REFUSED[line][0], UNSET, *REFUSED[line][1:]):
        raise error
    assert printed == f"run: {error}"


@pytest.mark.parametrize("line", PRINTED)
def test_one_line_says_what_to_do(line: str, tmp_path: Path, capsys, monkeypatch) -> None:
    printed, _ = refused(line, tmp_path, capsys, monkeypatch)
    assert re.search(PRINTED[line], printed), printed


def test_a_misspelt_key_is_named_next_to_configs_of_the_user(tmp_path: Path, capsys, monkeypatch) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nsteps: 2\n")
    line = f"experiment=mine data.bach_size=3 --config-dir={tmp_path}"
    _, error = refused(line, tmp_path, capsys, monkeypatch)
    with refuses("data.bach_size", "3", "no such setting", "data.batch_size"):
        raise error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defualt_steps: 5", "defualt_steps: is read by nothing. Write default_steps, or remove it"),
        ("evaluation: {nn: 5}", "evaluation.nn: is read by nothing"),
        ("steps: 1\nsteps: 2", "found duplicate key steps in .*mine.yaml., line 3"),
    ],
)
def test_a_mistake_in_a_config_of_the_user_is_refused_in_one_line(
    text: str, message: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    printed, _ = refused(f"experiment=mine --config-dir={tmp_path}", tmp_path, capsys, monkeypatch)
    assert re.search(message, printed), printed


def test_a_config_of_the_user_may_have_keys_that_others_refer_to(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nwidth: 7\nmodel: {generator: {latent_dim: '${width}'}}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    cfg = compose(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert cfg.model.generator.latent_dim == 7


def test_no_traceback_reaches_the_shell(tmp_path: Path) -> None:
    code, out, err = finish(start("trick=label_smoothing", "objective=hinge", cwd=tmp_path))
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("run: trick=label_smoothing: needs an objective with targets")


@pytest.mark.parametrize("name", ["precious.txt", "summary.json"])
def test_an_existing_directory_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"keep": 1}')
    with refuses("run_dir", tmp_path, "exists and is not empty", "continue the run with resume="):
        play(tmp_path, "steps=2")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, '{"keep": 1}')]


def test_a_directory_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with refuses(reason="is not a run: it has no config.yaml"):
        resume(tmp_path)


def folder_with(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "images" / "class"
    folder.mkdir(parents=True)
    for i in range(70):
        Image.new("L", (9, 8), i * 3).save(folder / f"{i}.png")
    (folder / name).write_bytes(b"this is no image")
    return folder.parent


def test_a_file_that_is_not_an_image_is_named_or_skipped(tmp_path: Path, capsys) -> None:
    root = folder_with(tmp_path, "broken.png")
    settings = ["data=folder", f"data.root={root}", "data.height=8", "data.channels=1", "steps=2"]
    with pytest.raises(ConfigError, match="broken.png"):
        play(tmp_path / "run", *settings)
    assert not (tmp_path / "run").exists()
    play(tmp_path / "run", *settings, "data.on_corrupt=skip")
    assert "skipped     1 files that are not images" in capsys.readouterr().out
    assert summary(tmp_path / "run")["status"] == "finished"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty"):
        play(tmp_path / "run", "data=folder", f"data.root={tmp_path / 'empty'}", "data.height=8")


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    leap = "{_target_: ganlab.core.schedules.Linear, start: 0.001, end: 1e30, steps: 1, after: 6}"
    with pytest.raises(Diverged, match="diverged at step"):
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


@on_one_day_of(3)
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=4", "log_every=1")
    before = (run_dir / "checkpoints" / "last.ckpt").read_bytes()

    def quota() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))

    code, _, err = finish(start_cold(f"resume={run_dir}", "steps=40", "checkpoint_every=5", preexec_fn=quota))
    assert code == 2
    assert "is full, or a quota is reached" in err
    assert "Traceback" not in err
    assert (run_dir / "checkpoints" / "last.ckpt").read_bytes() == before
    assert summary(run_dir)["status"] == "failed"
    resume(run_dir, "steps=6")
    assert [int(row["step"]) for row in rows(run_dir)] == [1, 2, 3, 4, 5, 6]


class Failing(Trick):
    def latents(self, latent, turn):
        raise RuntimeError("failing")


def test_a_run_that_fails_in_its_first_step_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the first step failed: .*failing"):
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
def test_a_damaged_file_of_a_run_is_refused_or_ignored(
    name: str, content: str, message: str | None, tmp_path: Path
) -> None:
    play(tmp_path / "run", "steps=2")
    (tmp_path / "run" / name).write_text(content)
    if message is None:
        resume(tmp_path / "run", "steps=3")
        assert summary(tmp_path / "run")["steps"] == 3
    else:
        with pytest.raises(ConfigError, match=message):
            resume(tmp_path / "run", "steps=3")


@pytest.mark.parametrize("found", [None, 0, 1, "2", True])
def test_a_run_of_another_format_is_refused_with_its_version(found: object, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=2")
    config = run_dir / "config.yaml"
    first, rest = config.read_text().split("\n", 1)
    assert first == "format: 2"
    config.write_text(rest if found is None else f"format: {json.dumps(found)}\n{rest}")
    versions = summary(run_dir)["versions"] | {"torch-ganlab": "0.0.7"}
    (run_dir / "summary.json").write_text(json.dumps(summary(run_dir) | {"versions": versions}))
    before = config.read_bytes()
    has = f"config.yaml has format={format_value(found)}, but this version of ganlab reads format 2"
    with refuses(reason=has, remedy="use ganlab 0.0.7 for this run"):
        resume(run_dir, "steps=3")
    assert config.read_bytes() == before


def test_a_sweep_continues_after_a_failed_job(tmp_path: Path) -> None:
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


def test_an_incomplete_row_of_the_metrics_is_removed(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=3", "log_every=1")
    with (run_dir / "metrics.csv").open("a") as file:
        file.write("4,128,0.12")
    resume(run_dir, "steps=5")
    assert [int(row["step"]) for row in rows(run_dir)] == [1, 2, 3, 4, 5]


def test_code_outside_the_list_is_not_run(tmp_path: Path) -> None:
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
        with refuses("trick.evil", target, "is not on the list", "remove it from config.yaml"):
            resume(run_dir, "steps=3")
        config.write_text(config.read_text().replace(evil, "trick: {}\n"))


def test_settings_of_a_trick_that_was_not_selected_are_refused(tmp_path: Path) -> None:
    with refuses("trick.ema", {"decay": 0.9}, "has settings but was not selected", r"\+trick=ema"):
        play(tmp_path / "run", "+trick.ema.decay=0.9")
    with refuses("metric.parzen", remedy="remove its settings with '~metric.parzen'"):
        play(tmp_path / "run", "metric=none", "+metric.parzen.num_validation=10")


def hook_that_damages(place: str, what: Callable[[Path], object]) -> Callable[..., None]:
    """A callback's hook that does something to the run directory before step 4."""

    def hook(self: ProgressBar, trainer: Trainer, module: GameModule, *_: object) -> None:
        if module.game.run_step == 3:
            what(Path(place))

    return hook


DURING_THE_RUN = {  # what happens to a run directory, and the reason that is given
    "removed": (shutil.rmtree, "was removed or renamed during the run"),
    "renamed": (lambda place: place.rename("elsewhere"), "was removed or renamed during the run"),
    "no metrics": (
        lambda place: ((place / "metrics.csv").unlink(), (place / "metrics.csv").mkdir()),
        r"cannot write or read run/.* \(Is a directory\)",
    ),
    "no samples": (
        lambda place: (shutil.rmtree(place / "samples"), (place / "samples").touch()),
        r"cannot write or read run/samples/.* \(Not a directory\)",
    ),
    "no checkpoints": (
        lambda place: (shutil.rmtree(place / "checkpoints"), (place / "checkpoints").touch()),
        r"cannot write or read run/checkpoints/.* \(Not a directory\)",
    ),
}


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("case", DURING_THE_RUN)
def test_a_run_directory_that_disappears_during_the_run(
    case: str, tmp_path: Path, monkeypatch, capfd
) -> None:
    what, reason = DURING_THE_RUN[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ProgressBar, "on_train_batch_start", hook_that_damages("run", what))
    every = ["log_every=1", "sample_every=4", "checkpoint_every=4", "metric=none"]
    with refuses("run_dir", Path("run"), reason, "(put it back|repair it), then continue .* resume=run"):
        play(Path("run"), "steps=9", *every, "logger=tensorboard")
    assert capfd.readouterr().err == ""
    if case.startswith("no"):
        assert summary(tmp_path / "run")["status"] == "failed"


@pytest.mark.parametrize("place", ["x" * 300, f"new/{'x' * 300}", "/proc/run", "file/run"])
def test_a_run_directory_that_cannot_be_created(place: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with refuses("run_dir", Path(place), "cannot be created", "choose another"):
        play(Path(place), "steps=2")
    with refuses(reason="is not a run"):
        resume(Path(place))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("file", ["config.yaml", "summary.json"])
def test_a_disk_that_is_full_at_the_start_leaves_no_directory(file: str, tmp_path: Path, monkeypatch) -> None:
    def full(path: Path, text: str) -> None:
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text(text)

    monkeypatch.setattr(run_directory, "write_atomically", full)
    with refuses("run_dir", tmp_path / "deep" / "run", "cannot be created .No space left on device"):
        play(tmp_path / "deep" / "run", "steps=2")
    assert not (tmp_path / "deep").exists()


def test_exploding_weights_are_a_divergence(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="7: a weight of .*e.12 has exploded: it was 1 at first"):
        play(tmp_path / "run", "optimizer.generator.lr=1e12", "steps=9", "log_every=7", "metric=none")
    assert summary(tmp_path / "run")["status"] == "diverged"
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_exploding_losses_are_a_divergence(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    play(run_dir, "steps=4", "log_every=2")
    log = LogScalars(RunDirectory(run_dir), 1, Timetable(compose()))
    log.load_state_dict(checkpoint(run_dir)["callbacks"]["Log"])
    log.players = ("discriminator", "generator")  # as after a step
    assert {name: len(values) for name, values in log.early.items()} == {
        "weight": 1,
        "discriminator/adversarial": 2,
        "generator/adversarial": 2,
    }
    for name in log.early:
        log.refuse_divergence(200, {name: 0.9e6})
        with pytest.raises(Diverged, match=f"a {name} of -3e.06 has exploded"):
            log.refuse_divergence(200, {name: -3e6})
    log.refuse_divergence(
        200, {"discriminator/gradient_norm": 1e9, "ada/probability": 1e9}
    )  # clipped, and told by a trick
    log.early["generator/adversarial"] = [5.0, 1e5, 5.0]
    with pytest.raises(Diverged):
        log.refuse_divergence(200, {"generator/adversarial": 6e6})
