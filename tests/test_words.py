"""Command lines: texts are read as typed, unknown keys named with the nearest known, kinds checked."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from support.commands import QUICK, environment, play
from support.modules import build
from support.refusals import refuses
from support.small_games import SMALL
from torch import nn

from ganlab.cli import JobTable, launch, pop_overrides_for_saved_config
from ganlab.config.build import build_data
from ganlab.config.compose import CONF, compose
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import check_arguments, constructor_parameters
from ganlab.core.errors import UNSET, ConfigError
from ganlab.sample import sample
from ganlab.training.play_run import warn_of_batch_norm

HOME = os.path.expanduser("~")


@pytest.mark.parametrize(
    ("line", "key", "text"),
    [
        ("run_dir=20261121", "run_dir", "20261121"),
        ("run_dir=1_1_1", "run_dir", "1_1_1"),
        ("name=1e5", "name", "1e5"),
        ("name=true", "name", "true"),
        ("logger.wandb.project=007", "logger.wandb.project", "007"),
        ("data=folder data.root=2020", "data.root", "2020"),
        ("data=folder data.root=/data/Bilder_ä", "data.root", "/data/Bilder_ä"),
        ("data=folder data.test_root=/data/a,b", "data.test_root", "/data/a,b"),
        ("resume=outputs/lr=3/run", "resume", "outputs/lr=3/run"),
        ("run_dir=a(1)#", "run_dir", "a(1)#"),
        ("run_dir=[a]", "run_dir", "[a]"),
        ("run_dir=~/runs/x", "run_dir", f"{HOME}/runs/x"),
        ("init_from=~/1", "init_from", f"{HOME}/1"),
        ("run_dir='\"r/x\"'", "run_dir", "r/x"),
        ("run_dir=null", "run_dir", None),
    ],
)
def test_a_text_is_read_as_typed(line: str, key: str, text: str | None) -> None:
    assert OmegaConf.select(compose(*line.replace("'", "").split(" ")), key) == text


def test_texts_in_lists_and_of_other_commands_are_read_as_typed() -> None:
    assert compose("output=1.50", config_name="sample").output == "1.50"
    assert compose("of=[1_1_1,a=b,~/c]", config_name="compare").of == ["1_1_1", "a=b", "~/c"]
    spaced = compose("data=folder", "data.root=/data/My Images (2020)")
    assert spaced.data.root == "/data/My Images (2020)"


RATES = r"optimizer\.\w+\.lr, optimizer\.\w+\.lr$"


@pytest.mark.parametrize(
    ("command", "line", "key", "remedy"),
    [
        ("run", "lr=0.001", "lr", f"try {RATES}"),
        ("run", "batch_size=32", "batch_size", "try data.batch_size$"),
        ("run", "epochs=3", "epochs", "try steps, images$"),
        ("run", "step=100", "step", "try steps$"),
        ("run", "modle=dcgan", "modle", "try model$"),
        ("run", "data=minst", "data", "choose mnist, or one of"),
        ("run", "data=null", "data", "choose one of"),
        ("run", "trick=[r1,emma]", "trick", "choose ema, or one of"),
        ("run", "optimizer.lr=1", "optimizer.lr", RATES),
        ("run", "trick=ema trick.ema.decy=1", "trick.ema.decy", "try trick.ema.decay"),
        ("run", "trick.ema.decay=1", "trick.ema.decay", "add trick=ema first"),
        ("run", "model=dcgan model.generator.widht=3", "model.generator.widht", "try model.generator.width"),
        (
            "run",
            "optimizer.generator.weight_decay=1",
            "optimizer.generator.weight_decay",
            r"add it to torch.optim.Adam with \+optimizer.generator.weight_decay=",
        ),
        ("run", "+lr=0.001", "lr", RATES),
        ("run", "++foo=1", "foo", ""),
        ("run", "+evaluation.foo=1", "evaluation.foo", ""),
        ("run", "~lr", "lr", RATES),
        ("sample", "num=4", "num", "try n$"),
        ("evaluate", "devce=cpu", "devce", "try device$"),
        ("compare", "+off=[a]", "off", "try of$"),
        ("figures", "ring.stps=3", "ring.stps", "try ring.steps"),
        ("ablate", "suit=x", "suit", "try suite$"),
        ("report", "+swep=x", "swep", "try sweep$"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest(
    command: str, line: str, key: str, remedy: str
) -> None:
    with refuses(key, reason=f"there is no such (setting|{key})", remedy=remedy):
        compose(*line.split(), config_name=command)


@pytest.mark.parametrize(
    ("command", "line", "key", "reason"),
    [
        ("run", "~seed", "seed", "is required"),
        ("run", "foo", "foo", "cannot be read"),
        ("run", "my key=3", "my key=3", "cannot be read"),
        ("run", "--steps=3", "--steps", "starts with dashes"),
        ("sample", "n=abc", "n", "must be a whole number of at least 1"),
        ("ablate", "dry_run=no", "dry_run", "must be true or false"),
    ],
)
def test_an_override_of_the_wrong_form_or_kind_is_refused(
    command: str, line: str, key: str, reason: str
) -> None:
    with refuses(key, reason=reason):
        compose(line, config_name=command)


def test_an_unknown_setting_gives_one_line() -> None:
    line = "^stepz=3: there is no such setting. Try steps.$"
    with pytest.raises(ConfigError, match=line):
        compose("stepz=3")


def test_settings_that_something_reads_may_be_added() -> None:
    given = ["+optimizer.generator.weight_decay=0.1", "+trick=r1", "+trick.mine._target_=a.B"]
    cfg = compose(*given, "+trick.mine.std=0.1", "trick.mine.std=0.2", "+trainer.num_nodes=1")
    assert (cfg.optimizer.generator.weight_decay, cfg.trick.mine.std) == (0.1, 0.2)
    assert cfg.trick.r1.gamma == 1


def test_the_annotations_of_every_constructor_in_conf_are_found() -> None:
    texts = (path.read_text() for path in CONF.rglob("*.yaml"))
    targets = {
        line.split("_target_:")[1].split(",")[0].strip(" }\n")
        for t in texts
        for line in t.splitlines()
        if "_target_:" in line and "#" not in line.split("_target_:")[0]
    }
    assert len(targets) > 80
    for target in targets:
        known = constructor_parameters(target).types
        assert "_target_" not in known, target


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("x.end", "nan", "must be a number$"),
        ("x.end", float("nan"), "must be a number$"),
        ("x.end", float("inf"), "must be a number$"),
        ("x.end", True, "must be a number$"),
        ("x.stop", 1, "ganlab.core.schedules.Linear has no such parameter"),
        ("x.steps", 2.5, "must be a whole number of at least 1$"),
        ("x._target_", 5, "must be a string"),
    ],
)
def test_settings_are_checked_against_the_annotations_of_a_constructor(
    key: str, value: object, reason: str
) -> None:
    line = {"_target_": "ganlab.core.schedules.Linear", "start": 1.0, "end": 0, "steps": 1}
    check_arguments(OmegaConf.create({"x": [line]}).x)
    with refuses(key, UNSET if value != value else value, reason):
        check_arguments(OmegaConf.create({"x": line | {key.removeprefix("x."): value}}).x)


ALL_TRICKS = ["trick=[" + ",".join(path.stem for path in (CONF / "trick").glob("*.yaml")) + "]"]


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        (
            ALL_TRICKS,
            """trick.adaptive_augment target=1.0|-1|abc interval=0 kimg=0 geometry.flip=1 geometry.scale=-0.1
            colour.luma_flip=0.5 colour.hue=2|{_target_:ganlab.core.schedules.Linear} corruption.cutout=2
            trick.adaptive_balance by=luck high=abc low=-1|0 trick.auxiliary_classifier generator=mystery
            trick.ema players=generator|null|[]|[[generator]] trick.feature_matching replace=2
            trick.generator_dropout rate=0|1 at_test=2 trick.label_conditioning discriminator=mystery
            trick.lookahead k=0|2.5 player=one trick.minibatch_discrimination kernels=0|2.5 dims=0
            trick.minibatch_stddev group_size=1|2.5 trick.mode_seeking eps=0 trick.packing size=1|5|2.0|true
            trick.noisy_labels real=0.9|[0.9]|[false,true]|[a,b] trick.normalisation kind=batch groups=0
            trick.replay_buffer size=0|2.0|true share=0|1.5|true trick.r2 every=0|1.5
            trick.gradient_penalty sided=three trick.spectral_norm iterations=0 player=all
            trick.critic_steps n=1|0|2.5|true burst=5 trick.generator_steps k=1
            trick.truncation threshold=0|-1|1e999
            trick.unrolled steps=0|11|2.0|true trick.virtual_batch_norm size=1|2.0""",
        ),
        (
            [
                "+trick.critic_steps.burst={_target_:ganlab.tricks.steps.Burst,n:5,first:2,every:4}",
                "trick=critic_steps",
            ],
            "trick.critic_steps.burst n=1 first=-1 every=1|2.5",
        ),
        (["data=digits"], "data validation=-1|1.5 validation_choice=first labelled=0|-4 batch_size=0|-1|2.5"),
        (["data=mnist"], "data dataset=KMNIST validation=-1"),
        (
            ["data=folder"],
            """data channels=4 height=0 num_workers=-1 crop=top flip=2 white=0 on_corrupt=warn
            in_memory=perhaps memory_limit=-1 batch_size=0""",
        ),
        (["data=ring"], "data modes=0 std=0|-1 radius=-1 size=0 data_seed=-1 batch_size=0"),
        (["data=grid"], "data coordinates=[] std=0"),
        (["data=spiral"], "data turns=0 components=1"),
        (["data=mixture_1d"], "data stds=[1,0] weights=[1,-1]"),
        (["data=stacked_mnist"], "data size=0 test_size=0 data_seed=-1"),
        ([], "model.generator latent_dim=0 hidden=[0]|4 batch_norm=maybe"),
        ([], "model.discriminator hidden=[]|[0] maxout=1 dropout=1.0|-0.1 input_dropout=1"),
        (["model=dcgan"], "model.generator width=0 kernel=2 model.discriminator features=0 kernel=1 width=0"),
        (["model=vae"], "model.encoder activation=tanh dropout=[1,0] hidden=[0]"),
        (["objective=least_squares"], "objective a=nan b=abc c=true"),
        (
            ["objective=mmd"],
            "objective estimator=u_statistic root=1 median=2 kernel.widths=[]|[1,-2]|[wide]",
        ),
        (["objective=mmd"], "objective.kernel width_is=radius"),
        (["objective=mmd", "objective/kernel=rational_quadratic"], "objective.kernel alphas=[0]"),
        (
            ["metric=[kid,prdc,is]"],
            "metric kid.subsets=0 kid.subset_size=1 kid.estimator=linear prdc.k=0 is.splits=0",
        ),
        (
            ["metric=[linear_probe,classification_accuracy]"],
            "metric.linear_probe n_train=0 cost=0 metric.classification_accuracy epochs=0 lr=0",
        ),
        (["trainer=ddp"], "trainer.strategy patience=0"),
    ],
)
def test_ranges_of_annotations_are_checked(line: list[str], keys: str) -> None:
    cfg, place = compose(*line), ""
    check_arguments(cfg)
    for word in keys.split():
        key, given, values = word.partition("=")
        place = place if given else key
        for value in values.split("|") if given else ():
            path, odd = f"{place}.{key}", cfg.copy()
            OmegaConf.update(odd, path, OmegaConf.create(f"x: {value}").x, merge=False, force_add=True)
            with refuses(path, reason="^must be (a |one of |true |null)"):
                check_arguments(odd)


def test_mistakes_on_the_command_line_are_reported_before_torch_is_imported() -> None:
    lines = ["steps=abc", "lr=3", "data=folder data.root=nowhere", "resume=nowhere", "init_from=nowhere"]
    code = f"""
import sys
from ganlab.cli import launch
from ganlab.run import run
from ganlab.sample import sample
from ganlab.evaluate import evaluate
def report(task, *words):
    sys.argv = [task.__name__, *words]
    try: launch(task.__name__, task)
    except SystemExit as end: assert end.code == 2, words
for line in {lines}: report(run, *line.split())
report(sample, "run_dir=nowhere")
report(evaluate, "run_dir=nowhere")
report(evaluate, "generated=nowhere", "real=digits")
assert "torch" not in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stderr.splitlines()) == 8, ended.stderr


def test_for_a_folder_of_runs_the_newest_is_named(tmp_path: Path) -> None:
    for i, name in enumerate(("old", "new")):
        (tmp_path / "gan" / name).mkdir(parents=True)
        (tmp_path / "gan" / name / "config.yaml").write_text("")
        os.utime(tmp_path / "gan" / name / "config.yaml", (i, i))
    with refuses(reason="gan is not a run: it has no config.yaml", remedy="such as .*gan/new$"):
        RunDirectory(tmp_path / "gan").config()


class Own(nn.Module):
    def __init__(self, **settings):
        super().__init__()


class Images(torch.utils.data.Dataset):
    def __init__(self, **settings):
        pass


@pytest.mark.parametrize(
    ("override", "key", "reason"),
    [
        (
            "model.generator._target_=test_words.Own",
            "model.generator._target_",
            "ganlab.networks.base.Generator",
        ),
        (
            "model.discriminator._target_=test_words.Own",
            "model.discriminator._target_",
            "ganlab.networks.base.Discriminator",
        ),
        ("data._target_=test_words.Images", "data._target_", "ganlab.data.base.Data"),
        ("+trick.mine._target_=test_words.Own", "trick.mine._target_", "ganlab.tricks.base.Trick"),
        ("+metric.mine._target_=test_words.Own", "metric.mine._target_", "ganlab.metrics.base.SampleMetric"),
        ("trainer._target_=test_words.Own", "trainer._target_", "Trainer"),
        ("+logger.mine=3", "logger.mine", "must be a mapping"),
        ("optimizer.generator=3", "optimizer.generator", "must be a mapping"),
    ],
)
def test_an_object_of_the_wrong_class_is_refused(
    override: str, key: str, reason: str, tmp_path: Path
) -> None:
    with refuses(key, reason=reason):
        play(tmp_path / "run", override)
    assert not (tmp_path / "run").exists()


def test_a_game_trains_under_a_plain_trainer_of_lightning() -> None:
    import pytorch_lightning as pl

    def fit(**settings: int) -> int:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        module = build(compose(*SMALL, "metric=none"))
        images = torch.utils.data.DataLoader([torch.zeros(1, 8, 8)] * 64, batch_size=16)
        pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **settings).fit(module, images)
        return module.game.run_step

    assert fit(max_epochs=1, limit_train_batches=3) == 3
    with refuses("max_steps", 3, "automatic optimisation"):
        fit(max_steps=3)


@pytest.mark.parametrize("more", [[], ["trainer=ddp", "data.batch_size=2"]])
def test_batch_norm_needs_two_samples_on_a_process(more: list[str]) -> None:
    with refuses("data.batch_size", reason="leaves each process one sample"):
        build(compose(*SMALL, "data.batch_size=1", *more))
    build(compose(*SMALL, "data.batch_size=1", "model.generator.batch_norm=false"))


def test_a_gradient_penalty_warns_of_batch_norm_in_the_discriminator(capsys) -> None:
    small = ["model=dcgan", "model.generator.width=4", "model.discriminator.width=4", "trick=[r1]"]
    cfg = compose(*small)
    warn_of_batch_norm(build(cfg, build_data(cfg)).game)
    assert "r1: the discriminator has batch norm" in capsys.readouterr().err
    other = compose(*small[:3], "trick=[r1,normalisation]")
    warn_of_batch_norm(build(other, build_data(other)).game)
    assert capsys.readouterr().err == ""


def test_settings_of_the_other_tests_are_valid() -> None:
    check_arguments(compose(*QUICK))


@pytest.mark.parametrize("line", ["data=[digits,mnist]", "+experiment=[ring_modes,gmmn_mnist]"])
def test_a_list_of_options_is_refused_where_hydra_would_drop_all_but_one(line: str) -> None:
    key = line.partition("=")[0]
    with refuses(key, reason="takes a single option", remedy="choose one of them"):
        compose(line)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("of=1_1_1", "1_1_1"), ("of=[my out/e (1).json,2020]", ["my out/e (1).json", "2020"])],
)
def test_paths_to_compare_are_texts(typed: str, meant: str | list[str]) -> None:
    assert compose(typed, config_name="compare").of == meant


def test_an_error_of_hydra_is_printed_in_one_line_without_its_hints(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["run", "clip={generatr: 1}"])
    with pytest.raises(SystemExit):
        launch("run", lambda *_: None)
    assert capsys.readouterr().err == "run: Could not override 'clip'. Key 'generatr' is not in struct\n"


def test_brackets_in_the_table_of_jobs_are_not_markup(capsys) -> None:
    jobs = JobTable(["trick=[ema],[r1]", "views=[[grid]],[[/]]"])
    jobs.add(0, ["trick=[ema]", "views=[[/]]"])
    jobs.print()
    assert "0    trick=[ema] views=[[/]]  stopped" in capsys.readouterr().out


def test_unprintable_characters_of_a_name_are_escaped(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    play(Path("caf\udce9\x1b[31m"), "steps=1", "metric=none")
    sample(compose("run_dir=caf\udce9\x1b[31m", "output=\udce9.png", "n=4", config_name="sample"), ["n=4"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "caf\\udce9\\x1b[31m"
    assert lines[-1].endswith(": \\udce9.png")
    assert all(map(str.isprintable, lines))


def test_a_resume_sets_overrides_with_dotted_keys_aside() -> None:
    line = ["resume=r/first", "-cd", "./my.conf", "trick.ema.decay=0.5", "~trick.ema", "hydra.x=1", "steps=3"]
    assert pop_overrides_for_saved_config(line) == ["trick.ema.decay=0.5", "~trick.ema"]
    assert line == ["resume=r/first", "-cd", "./my.conf", "hydra.x=1", "steps=3"]


def test_a_network_error_is_not_reported_as_one_of_the_output(monkeypatch) -> None:
    def offline(*_: object) -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr("sys.argv", ["compare", "of=[a,b]"])
    with pytest.raises(ConnectionRefusedError):
        launch("compare", offline)
