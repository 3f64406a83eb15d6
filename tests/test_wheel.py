"""The installed wheel: its command and configs work without the repository, and find the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import QUICK, summary
from support.daily_sample import on_one_day_of
from support.small_games import ROOT

from ganlab import __version__

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel of the source distribution installs, and nothing else of ganlab."""
    sources, folder = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", sources]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    options = ["--no-deps", "--no-build-isolation", "--target", folder]
    subprocess.run([*pip, *options, *sources.iterdir()], check=True)
    return folder


@pytest.fixture
def ganlab(installed: Path, tmp_path: Path) -> Run:
    """The command in an empty folder, away from the repository."""

    def run(*overrides: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(installed / "bin" / "ganlab"), "run", *overrides, "logger=csv"]
        command.append("run_dir=run")
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def test_the_wheel_holds_the_package_its_configs_and_its_types_alone(installed: Path) -> None:
    metadata = f"torch_ganlab-{__version__}.dist-info"
    assert {path.name for path in installed.iterdir()} == {"bin", "ganlab", metadata}
    assert all((installed / "ganlab" / name).is_file() for name in ("py.typed", "conf/trick/ema.yaml"))
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


@on_one_day_of(2)
def test_the_command_works_in_an_empty_folder(ganlab: Run, installed: Path, tmp_path: Path) -> None:
    ended = ganlab("model=dcgan", "steps=2", "model.generator.width=8", "model.discriminator.width=8")
    assert ended.returncode == 0, ended.stderr
    assert summary(tmp_path / "run")["status"] == "finished"


@on_one_day_of(2)
def test_configs_and_tricks_of_the_user_are_found_in_the_working_directory(
    ganlab: Run, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tricks.py").write_text(
        "from ganlab.tricks.base import Trick\n\n\n"
        "class Half(Trick):\n"
        "    def __init__(self, factor):\n"
        "        super().__init__()\n"
        "        self.factor = factor\n\n"
        "    def latents(self, latent, turn):\n"
        "        return self.factor * latent\n"
    )
    (tmp_path / "settings" / "experiment").mkdir(parents=True)
    (tmp_path / "settings" / "experiment" / "mine.yaml").write_text("# @package _global_\nsteps: 3\n")
    ended = ganlab(
        "--config-dir=settings",
        *[option for option in QUICK if option != "logger=csv"],
        "experiment=mine",
        "+trick.mine._target_=own.tricks.Half",
        "+trick.mine.factor=0.5",
    )
    assert ended.returncode == 0, ended.stderr
    assert summary(tmp_path / "run")["steps"] == 3
    assert "own.tricks.Half" in (tmp_path / "run" / "config.yaml").read_text()
