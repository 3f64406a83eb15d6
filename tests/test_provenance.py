"""The provenance of a run: the commit of its code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ganlab.training import provenance
from ganlab.training.provenance import git_commit


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package below another project's checkout, which does not track it."""
    place = tmp_path / "project" / ".venv" / "site-packages" / "ganlab"
    place.mkdir(parents=True)
    (place / "provenance.py").touch()
    (tmp_path / "project" / "theirs.py").touch()
    git(tmp_path / "project", "init", "-q")
    git(tmp_path / "project", "add", "theirs.py")
    git(tmp_path / "project", "commit", "-qm", "theirs")
    monkeypatch.setattr(provenance, "__file__", str(place / "provenance.py"))
    return place


def test_the_commit_of_another_project_is_ignored(package: Path) -> None:
    assert git_commit() is None
    (package.parents[2] / ".gitignore").write_text(".venv\n")
    assert git_commit() is None


def test_the_commit_is_that_of_the_packages_checkout(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(package, "add", ".")
    git(package, "commit", "-qm", "ours")
    head = git(package, "rev-parse", "HEAD")
    assert git_commit() == head
    (package / "provenance.py").write_text("changed")
    assert git_commit() == head + "+"
    other = package.parents[3] / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as in a hook of another checkout
    assert git_commit() == head + "+"
