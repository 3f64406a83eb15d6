"""The command `ganlab`: dispatch, help from the comments in conf/, lists of what fits, completion."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import docs
import pytest
import yaml
from support.commands import QUICK, environment, finish, start
from support.daily_sample import on_one_day_of
from support.refusals import refuses
from support.small_games import ROOT, options

from ganlab import __main__ as command
from ganlab import help
from ganlab.config.compose import CONF, compose
from ganlab.config.overrides import shell_command

COMMANDS = [path.stem for path in CONF.glob("*.yaml")]


def ganlab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints in this process."""
    monkeypatch.setattr(sys, "argv", ["ganlab", *words])
    monkeypatch.setenv("COLUMNS", "100")
    capsys.readouterr()
    command.main()
    return capsys.readouterr().out


def cold(*words: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, *words]
    return subprocess.run(line, env=environment(), stderr=subprocess.PIPE, text=True, **kwargs)


def examples(name: str) -> list[list[str]]:
    """The words of each example of a command, without comments."""
    return [re.sub(r"  #.*|'", "", line).split() for line in help.explanation(name)[1]]


def test_the_overview_names_all_commands_and_starts_without_torch() -> None:
    shown = cold("-X", "importtime", "-m", "ganlab", stdout=subprocess.PIPE)
    assert shown.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "numpy", "pytorch_lightning", "matplotlib"}
    with_launch = {
        path.stem for path in (ROOT / "ganlab").glob("*.py") if "\n    launch(" in path.read_text()
    }
    assert with_launch - {"__main__"} == {*COMMANDS}
    for name in (*COMMANDS, *help.LISTINGS):
        assert re.search(rf"^  {name} +[A-Z]\w+s .{{20}}", shown.stdout, re.MULTILINE), name


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_pages_fit_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(ROOT)  # a page names the folder conf
    for page in (command.answer("--help"), *(help.page(name, []) for name in help.commands())):
        lines = page.splitlines()
        assert max(map(len, lines)) <= 100
        wrapped = [line for line in lines if not re.match(r" *ganlab ", line)]  # commands are not
        assert max(map(len, wrapped)) <= min(columns, 100)


def test_the_page_of_run_has_every_choice_and_every_setting_with_its_comment() -> None:
    page = help.page("run", [])
    for group in {str(path.parent.relative_to(CONF)) for path in CONF.glob("*/**/*.yaml")}:
        section = page.partition(f"\n{group}=")[2].partition("\n\n")[0]
        for option in options(group):
            assert re.search(rf"^  [* ] {option}\s+\S.{{6}}", section, re.MULTILINE), (group, option)
    assert "* non_saturating" in page
    settings = page.partition("Default settings:")[2]
    for key, value in yaml.safe_load((CONF / "run.yaml").read_text()).items():
        if key not in ("defaults", "hydra", "trick", "logger", "callback"):
            assert re.search(rf"^  {key}[.=].*\s+\S", settings, re.MULTILINE), (key, value)
    assert re.search(r"^  evaluation\.n_real=10000 +the largest number of reference images", settings, re.M)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_of_a_command_has_a_comment(name: str) -> None:
    for setting, comment in help.settings(CONF / f"{name}.yaml"):
        inside_a_figure = name == "figures" and "." in setting
        assert comment or inside_a_figure, setting


@pytest.mark.parametrize("name", ["run", "tricks"])
def test_help_is_that_of_the_module_too_and_shows_choices_of_ones_own(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\n# What I do.\nsteps: 3\n")
    words = [f"--config-dir={tmp_path}", "--help"]
    shown = ganlab(monkeypatch, capsys, name, *words)
    assert f"ganlab {name} " in shown
    assert ("    mine  " in shown and "What I do\n" in shown) == (name == "run")
    if name == "run":
        code, out, err = finish(start(*words))
        assert (code, out, err) == (0, shown, "")


def test_the_page_of_run_has_the_settings_of_the_choices() -> None:
    page = help.page("run", [])
    assert re.search(r"^  trainer\.precision=32-true +32-true \| bf16-mixed", page, re.MULTILINE)
    assert re.search(r"^  logger\.wandb\.mode=auto +auto: as in WANDB_MODE", page, re.MULTILINE)
    assert "model.generator.latent_dim=64" in page
    assert "data.root=data" not in page
    chosen = help.page("run", ["--help", "data=folder", "trick=[r1,ema]"])
    for line in (r"data\.root=data/images", r"trick\.r1\.gamma=1\.0", r"trick\.ema\.decay=0\.999 +\S"):
        assert re.search(f"^  {line}", chosen, re.MULTILINE), line


@pytest.mark.parametrize("words", [[], ["model=dcgan"], ["data=ring"], ["experiment=gain_digits"]])
def test_the_page_has_the_values_of_a_run(words: list[str]) -> None:
    """Choices may make choices of other groups, such as the optimizer of a model."""
    page, config = help.page("run", words), compose(*words)
    lr = config.optimizer.generator.lr
    assert re.search(rf"^  optimizer\.generator\.lr={lr}$", page, re.MULTILINE)
    measured = {name for name, node in config.metric.items() if name != "weights" and len(node) > 1}
    assert {*re.findall(r"^  metric\.(\w+)\.", page, re.MULTILINE)} - {"weights"} == measured


def test_the_page_has_what_a_choice_inherits_and_refuses_an_unknown_choice() -> None:
    page = help.page("run", ["data=folder_and_vectors", "model/prior@model.generator.prior=uniform"])
    for line in (
        r"data\.root=data/images",
        r"data\.vectors=data/vectors\.csv",
        r"data\.condition\.shape=\[1\] +\S",
    ):
        assert len(re.findall(f"^  {line}", page, re.MULTILINE)) == 1, line
    assert "\n  model.generator.prior.bound=1.0\n" in page
    with refuses("data", "foldr", "no such data", "folder"):
        help.page("run", ["data=foldr"])


def test_the_end_of_a_run_names_commands_in_the_form_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for started, expected in (
        (["python", "/here/bin/ganlab", "run"], "ganlab sample"),
        (["python", "-m", "ganlab.run"], "python -m ganlab.sample"),
        (["python", "-m", "ganlab", "run"], "python -m ganlab.sample"),
        (["python"], "python -m ganlab.sample"),
    ):
        monkeypatch.setattr(sys, "orig_argv", started)
        assert shell_command("sample") == expected


def test_each_example_composes() -> None:
    assert len(examples("run")) == 5
    for name in help.commands():
        assert len(examples(name)) >= 2, name
        for _, other, *words in examples(name):
            assert other == name
            words = [word.replace("1,2,3", "1").replace("0,1", "0").replace("r1,ema", "r1") for word in words]
            overrides = [word for word in words if word != "-m" and not word.startswith("hydra/")]
            compose(*overrides, config_name="run" if name in help.LISTINGS else name)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trian", "trian: there is no such command. List the commands with ganlab --help."),
        ("rum", "rum: there is no such command. Try ganlab run."),
        ("trick", "trick: there is no such command. Try ganlab tricks."),
        ("model=dcgan", "model=dcgan: is a setting, and no command. Write ganlab run model=dcgan."),
    ],
)
def test_an_unknown_command_is_one_line_and_status_2(
    word: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        ganlab(monkeypatch, capsys, word)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"ganlab: {message}\n"


def test_a_launcher_without_its_cluster_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without srun, wherever the test runs
    words = ("-m", "seed=0,1", "hydra/launcher=submitit_slurm", f"hydra.sweep.dir={tmp_path}")
    status, out, err = finish(start(*words))
    assert (status, out) == (1, "")
    assert err.startswith("run: ")
    assert err.count("\n") == 1
    assert "slurm" in err


def test_the_version_is_that_of_the_package(monkeypatch, capsys) -> None:
    shown = ganlab(monkeypatch, capsys, "--version")
    assert shown.split()[1] == version("torch-ganlab")
    assert ganlab(monkeypatch, capsys, "run", "--version") == shown


def test_the_usage_names_the_command(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with pytest.raises(SystemExit):
        ganlab(monkeypatch, capsys, "run", "--fast")
    assert capsys.readouterr().err.startswith("usage: ganlab run [--help]")


@on_one_day_of(3)
def test_a_command_is_its_module(tmp_path: Path) -> None:
    """Errors, statuses, sweeps, own config files, interrupts and the stored command line."""
    for words in (["steps=-5"], ["stepz=3"], ["--config-dir=nowhere", "seed=1"], ["--seed=3"]):
        ended = finish(start("run", *words, module=("ganlab",)))
        assert ended == finish(start(*words))
        assert ended[0] == 2
        assert ended[2].startswith("run: ")
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "short.yaml").write_text("# @package _global_\nsteps: 2\n")
    words = ["--config-dir=mine", "-m", *QUICK, "experiment=short", "seed=0,1", "run_dir=out"]
    code, out, err = finish(start("run", *words, module=("ganlab",), cwd=tmp_path))
    assert code == 0, err
    assert re.search(r"1 +seed=1 +finished", out)
    stored = json.loads((tmp_path / "out" / "1_seed-1" / "summary.json").read_text())
    assert stored["command"].startswith("python -m ganlab.run --config-dir=")
    process = start("run", *QUICK, f"run_dir={tmp_path / 'stopped'}", "steps=100000", module=("ganlab",))
    while not (tmp_path / "stopped" / "metrics.csv").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 0
    assert json.loads((tmp_path / "stopped" / "summary.json").read_text())["status"] == "stopped"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["compare", "of=[one,two]"]], ids=" ".join)
def test_output_into_a_closed_pipe_ends_quietly(words: list[str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(json.dumps({"fid": {"value": 1.0}}))
    read, write = os.pipe()
    os.close(read)
    ended = cold("-m", "ganlab", *words, stdout=write, cwd=tmp_path)
    os.close(write)
    assert ended.stderr == ""
    # The table of `compare` is written by rich, which ends the process itself, with status 1.
    assert ended.returncode == (1 if words[0] == "compare" else 128 + signal.SIGPIPE)


def test_help_on_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        for words, name in ((["--help"], "ganlab"), (["run", "--help"], "run")):
            ended = cold("-m", "ganlab", *words, stdout=full)
            line = f"{name}: the output cannot be written: No space left on device\n"
            assert (ended.returncode, ended.stderr) == (2, line)


def listed(shown: str) -> tuple[set[str], set[str]]:
    """The names that a list accepts, and those that it refuses."""
    parts = shown.partition("Refused with these settings:")
    return tuple({*re.findall(r"^  (\w+)(?:  |$)", part, re.MULTILINE)} for part in parts[::2])


def test_tricks_are_refused_for_an_objective_as_on_the_page(monkeypatch, capsys) -> None:
    shown = ganlab(monkeypatch, capsys, "tricks", *docs.SMALL, "data.labelled=10", "objective=hinge")
    refused = {trick for trick, objective in docs.read_refused().objectives if objective == "hinge"}
    fitting, found = listed(shown)
    assert found == refused | {"paste_known", "pixel_loss"}  # which the page shows for pairs
    assert fitting == {*docs.option_names("trick")} - found
    assert re.search(r"label_smoothing +needs an objective with targets, but Hinge has none", shown)


def test_tricks_are_refused_next_to_another_as_on_the_page(monkeypatch, capsys) -> None:
    words = [*docs.SMALL, "data.labelled=10", "trick=[spectral_norm]"]
    _, found = listed(ganlab(monkeypatch, capsys, "tricks", *words))
    assert found >= {"weight_clip", "weight_norm"}
    assert not found & {"r1", "ema", "spectral_norm"}


def test_all_tricks_are_listed_with_their_costs_and_traits(monkeypatch, capsys) -> None:
    shown = ganlab(monkeypatch, capsys, "tricks")
    for row in docs.read_costs():
        assert f"\n  {row['trick']:<28}{docs.cost_cell(row):<11}" in shown
    assert listed(shown) == ({*docs.option_names("trick")}, set())
    after = shown.partition("\n  packing ")[2].partition("\n  pixel_loss")[0]
    assert "takes: verdicts on single samples" in after
    assert "median of three ratios" in " ".join(shown.split())


def test_a_run_that_is_refused_itself_is_one_line(monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit):
        ganlab(monkeypatch, capsys, "tricks", "objective=hinge", "trick=label_smoothing")
    message = "tricks: trick=label_smoothing: needs an objective with targets, but Hinge has none."
    assert capsys.readouterr().err.startswith(message)


def test_objectives_are_refused_for_a_trick_as_on_the_page(monkeypatch, capsys) -> None:
    shown = ganlab(monkeypatch, capsys, "objectives", *docs.SMALL, "trick=label_smoothing")
    fitting, found = listed(shown)
    refused = {objective for trick, objective in docs.read_refused().objectives if trick == "label_smoothing"}
    assert found - {*docs.HOMES} == refused - {*docs.HOMES}  # the page has those in their own models
    assert fitting | found == {*docs.option_names("objective")}
    assert "f_anogan              model.generator: is trained by no player" in shown
    assert re.search(r"minimax +The zero-sum game: .*\n +trains: discriminator, generator", shown)


SHELL = """eval "$(ganlab -sc install=bash)"
try() { COMP_LINE="$1" COMP_POINT=${#1} COMP_WORDS=($1) COMPREPLY=()
  [[ "$1" == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  hydra_bash_completion; echo "${COMPREPLY[*]}"; }
"""
COMPLETED = {
    "ganlab ev": "evaluate",
    "ganlab run seed=0 trick=label": "trick=label_conditioning trick=label_smoothing",
    "ganlab run model=dcgan optimizer.gen": "optimizer.generator.",
    "ganlab run --config-dir=mine experiment=mi": "experiment=mine",
    "ganlab sample wh": "what=",
    "ganlab tricks objective=hi": "objective=hinge",
}


def test_bash_completes_commands_groups_and_keys(tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_text("# @package _global_\nsteps: 3\n")
    program = tmp_path / "ganlab"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ganlab "$@"\n')
    program.chmod(0o755)
    script = SHELL + "".join(f"try '{line}'\n" for line in COMPLETED)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shell = ["bash", "-c", script]
    ended = subprocess.run(shell, cwd=tmp_path, env=environment() | path, capture_output=True, text=True)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == list(COMPLETED.values())
