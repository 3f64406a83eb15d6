"""The example of a package of one's own, installed beside ganlab and used from an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from support.commands import QUICK, assert_same_run, environment, summary
from support.daily_sample import on_one_day_of
from support.refusals import refuses
from support.small_games import ROOT

from ganlab import compose, load

EXAMPLE = ROOT / "experiments" / "your_own_package"
SETTINGS = ("hydra.searchpath=[pkg://stripes.conf]", "experiment=stripes", "logger=csv", "evaluation.n=100")
EVERY = ("log_every=2", "evaluate_every=2", "checkpoint_every=2")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", folder, EXAMPLE], check=True)
    return folder


def guide(language: str) -> list[str]:
    """The code blocks on one's own parts on the page of the package."""
    page = (ROOT / "ganlab" / "README.md").read_text()
    section = page.partition("## Everything else of your own")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def python(cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment() | variables, capture_output=True, text=True)


def run(installed: Path, cwd: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return python(cwd, "-m", "ganlab.run", *overrides, PYTHONPATH=f"{ROOT}:{installed}")


@on_one_day_of(3)
def test_all_its_parts_train_resume_and_need_trust_elsewhere(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, steps in (("whole", 6), ("part", 4)):
        ended = run(installed, tmp_path, *SETTINGS, *EVERY, f"steps={steps}", f"run_dir={name}")
        assert ended.returncode == 0, ended.stderr
    ended = run(installed, tmp_path, "resume=part", "steps=6")
    assert ended.returncode == 0, ended.stderr
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert_same_run(whole, part)
    assert (whole / "lowest.txt").read_text() == (part / "lowest.txt").read_text()
    measured = summary(whole)["metrics"]
    assert set(measured) == {"brightness/train_100", "latent_sensitivity"}
    assert measured == summary(part)["metrics"]
    assert measured["brightness/train_100"]["metric._target_"] == "stripes.metrics.BrightnessGap"
    monkeypatch.syspath_prepend(installed)
    assert load(whole).sample(3).shape == (3, 1, 12, 12)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))  # another user's machine
    with pytest.raises(ValueError, match=r"trust=\[stripes\]"):
        load(whole)
    assert load(whole, trust=["stripes"]).sample(3).shape == (3, 1, 12, 12)


def test_an_error_names_the_settings_of_the_package(installed: Path, tmp_path: Path) -> None:
    ended = run(installed, tmp_path, *SETTINGS, "trick=jiter", "+trick.jitter.std=2")
    assert ended.returncode == 2
    assert "jitter" in ended.stderr
    assert "no such trick" in ended.stderr
    assert not (tmp_path / "outputs").exists()


@on_one_day_of(2)
def test_a_package_that_is_not_found_comes_with_a_remedy(tmp_path: Path) -> None:
    options = ("+trick.mine._target_=stripes.tricks.LatentJitter", "+trick.mine.std=1", *QUICK)
    ended = python(tmp_path, "-m", "ganlab.run", *options, f"run_dir={tmp_path / 'run'}")
    assert ended.returncode == 2
    assert "No module named 'stripes'" in ended.stderr
    assert "Start in the folder that has it, or install it." in ended.stderr


def test_a_folder_of_settings_and_a_package_in_the_working_directory(tmp_path: Path) -> None:
    options = ("--config-dir=stripes/conf", *SETTINGS[1:], "steps=2", f"run_dir={tmp_path / 'run'}")
    ended = python(EXAMPLE, "-m", "ganlab.run", *options)
    assert ended.returncode == 0, ended.stderr
    assert summary(tmp_path / "run")["steps"] == 2


@on_one_day_of(3)
def test_a_hydra_app_of_ones_own_composes_and_trains(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    quick = [text for text in QUICK if text != "logger=csv"]
    gan = [*quick, "logger=csv", "metric=none", "steps=2", f"run_dir={tmp_path / 'composed'}"]
    (tmp_path / "conf" / "app.yaml").write_text(yaml.safe_dump({"greeting": "hello", "gan": gan}))
    script, _ = guide("python")
    (tmp_path / "app.py").write_text(script)
    ended = python(tmp_path, "app.py")
    assert ended.returncode == 0, ended.stderr
    assert summary(tmp_path / "composed")["status"] == "finished"
    (settings,) = guide("yaml")
    (tmp_path / "conf" / "app.yaml").write_text(f"{settings}greeting: hello\n")
    (tmp_path / "app.py").write_text(re.sub(r"ganlab\.compose\(\*cfg\.gan\).*", "cfg)  # as it is", script))
    whole = tmp_path / "whole"
    ended = python(tmp_path, "app.py", *QUICK, "metric=none", "steps=2", f"run_dir={whole}")
    assert ended.returncode == 0, ended.stderr
    assert summary(whole)["steps"] == 2


def test_compose_leaves_the_hydra_of_an_app_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text("greeting: hello\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert compose("steps=3").steps == 3
        with refuses("stepz", "3"):
            compose("stepz=3")
        assert hydra.compose("theirs").greeting == "hello"
    assert not GlobalHydra.instance().is_initialized()
    assert files("ganlab.conf").joinpath("run.yaml").is_file()  # in a checkout as in a wheel


def test_a_trainer_of_ones_own_plays_the_steps_that_it_is_told(tmp_path: Path) -> None:
    _, script = guide("python")
    quiet = "logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator='cpu', "
    found: dict = {}
    exec(script.replace("pl.Trainer(", f"pl.Trainer({quiet}"), found)  # noqa: S102
    assert found["module"].game.run_step == 10
    assert found["samples"].shape == (64, 1, 8, 8)
