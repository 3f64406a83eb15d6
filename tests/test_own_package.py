"""The example of a package of one's own, installed beside ganlab and used from an empty folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import assert_same_run, environment, summary
from support.small_games import ROOT

from ganlab import load

EXAMPLE = ROOT / "experiments" / "your_own_package"
SETTINGS = ("hydra.searchpath=[pkg://stripes.conf]", "experiment=stripes", "logger=csv", "evaluation.n=100")
EVERY = ("log_every=2", "evaluate_every=2", "checkpoint_every=2")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", folder, EXAMPLE], check=True)
    return folder


def run(installed: Path, cwd: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ganlab.run", *overrides]
    own = environment() | {"PYTHONPATH": f"{ROOT}:{installed}"}
    return subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True)


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


def test_a_folder_of_settings_and_a_package_in_the_working_directory(tmp_path: Path) -> None:
    options = ("--config-dir=stripes/conf", *SETTINGS[1:], "steps=2", f"run_dir={tmp_path / 'run'}")
    ended = subprocess.run(
        [sys.executable, "-m", "ganlab.run", *options],
        cwd=EXAMPLE,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert summary(tmp_path / "run")["steps"] == 2
