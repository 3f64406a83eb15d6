"""The tutorials in experiments/tutorials run from their first cell to the last one."""

import runpy
from pathlib import Path

import pytest
from support.daily_sample import daily_cases, daily_choice
from support.small_games import ROOT

TUTORIALS = sorted((ROOT / "experiments" / "tutorials").glob("*.py"))
EVERY = [(tutorial,) for tutorial in TUTORIALS]


def test_every_tutorial_is_on_the_page() -> None:
    page = (ROOT / "experiments" / "tutorials" / "README.md").read_text()
    assert len(TUTORIALS) == 4
    assert all(tutorial.name in page for tutorial in TUTORIALS)


@pytest.mark.parametrize("tutorial", daily_cases([daily_choice(EVERY)], EVERY))
def test_a_tutorial_runs(tutorial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPS", "4")
    monkeypatch.setenv("SEEDS", "2")
    names = runpy.run_path(str(tutorial))
    shown = {
        "first_gan": lambda: "high_quality: " in capsys.readouterr().out and names["packed"].status,
        "your_own_images": lambda: names["threes"].shape == (4, 1, 8, 8) and names["result"].metrics,
        "five_faults": lambda: all(names["findings"][name] == [] for name in "abcde"),
        "a_question": lambda: "| `smoothing` |" in capsys.readouterr().out,
    }
    assert shown[tutorial.stem]()
