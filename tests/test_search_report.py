"""`python -m ganlab.report sweep=...`: its text and figures for invented trials."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from PIL import Image
from support.commands import environment
from support.refusals import refuses

from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.core.numerics import NUMERICS
from ganlab.report import report
from ganlab.studies import spec
from ganlab.studies.report import known, markdown, write
from ganlab.studies.spec import read_search
from ganlab.studies.table import Row, read, text_of

SWEEP = """\
question: Which rate suits a small GAN?
base: [evaluation.n=60, evaluation.n_real=60, steps=30, 'metric=[fid]', logger=csv, trick=r1, seed=3]
metric: fid
trials: 12
seed: 0
parameters:
  optimizer.generator.lr: tag(log, interval(1e-5, 1e-2))
  trick.r1.gamma: interval(0.1, 10)
  data.batch_size: range(16, 65, 16)
  objective: choice(non_saturating, least_squares)
prune: {after: 10}
"""
NAME = "fid/digits_train_60"
CHOSEN = {
    "optimizer.generator.lr": 1e-3,
    "trick.r1.gamma": 1.5,
    "data.batch_size": 32,
    "objective": "least_squares",
}
REAL = {"floor": 7.1, "floor_n": 360, "floor_split": "test"}


def trial_row(trial: int, value: float | None, **changed: Any) -> Row:
    record = {"value": value, "better": "lower", "step": 40, "n_fake": 60, "extractor": "digits", **REAL}
    facts: dict[str, Any] = {
        "arm": f"trial{trial}",
        "seed": 3,
        "status": "pruned" if value is None else "finished",
        "reason": "it was hopeless" if value is None else "",
        **dict.fromkeys(("config", "data", "code", "commit"), "a" * 12),
        "steps": 40,
        "images": 1280,
        "seconds": 2.0,
        "device": "cpu",
        "finished": "2026-11-21T21:00:00Z",
        "value": value,
        "metrics": {} if value is None else {NAME: record},
        "numerics": NUMERICS,
        "course": {"20": 9.0 + trial, "40": value} if value is not None else {"20": 50.0},
        "parameters": CHOSEN,
        "space": "0" * 12,
    }
    return Row(**(facts | changed))


def write_results(root: Path, changed: Mapping[int, dict[str, Any]] | None = None, **provenance: Any) -> Path:
    """A search with invented results; the trials without a value were pruned."""
    folder = root / "experiments" / "quick"
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(SWEEP)
    rows = []
    for trial, value in enumerate([30.0, None, 22.5, 17.25, None, 19.0, 41.0, 18.0, 25.0, 90.0]):
        chosen = {
            **CHOSEN,
            "optimizer.generator.lr": 10 ** (-5 + trial / 4),
            "data.batch_size": 16 + 16 * (trial % 4),
        }
        chosen["objective"] = ["non_saturating", "least_squares"][trial % 2]
        own = {"parameters": chosen} | (changed or {}).get(trial, {})
        found = trial_row(trial, value if own.get("metrics", True) else None, **own)
        for record in found.metrics.values():
            record |= provenance
        rows.append(found)
    (folder / "results.csv").write_text(text_of(rows))
    return folder


def page(folder: Path) -> str:
    return markdown(known(read_search(folder)))


def best_trials(text: str) -> list[int]:
    lines = next(block for block in text.split("\n\n") if block.startswith("| trial")).splitlines()
    return [int(found[1]) for line in lines if (found := re.match(r"\| `trial(\d+)`", line))]


def test_the_report_has_the_best_trials_and_their_commands(tmp_path: Path) -> None:
    broke = {"status": "failed", "reason": "no memory", "metrics": {}}
    lost = {"status": "diverged", "reason": "diverged at step 7: the loss is nan", "metrics": {}}
    text = page(folder := write_results(tmp_path, {1: broke, 9: lost}))
    valued = {int(row.arm[5:]): row for row in read(folder / "results.csv") if row.status == "finished"}
    expected = sorted(valued, key=lambda trial: valued[trial].value or 0)[:5]
    assert best_trials(text) == expected == [3, 7, 5, 2, 8]
    assert f"After 10 of 12 runs: In `{NAME}`, the best of 10 trials is `trial3`, with 17.25: `opt" in text
    assert "- Runs: 1 diverged, 1 failed, 7 finished, 1 pruned." in text
    assert "- Failed: `trial1` seed 3 (`no memory`)." in text
    assert "- Diverged: `trial9` seed 3 (`diverged at step 7: the loss is nan`)." in text
    assert "| (real data) | 7.1 |" in text
    assert "The best of 7 numbers flatters its parameters" in text
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("python -m ganlab.run")]
    first, again = lines[0], lines[-1]
    assert again[3] == "-m"
    assert again[-1] == "seed=1,2,4"  # seed 3 has chosen the parameters
    assert first[-1] == "seed=3"
    assert again[4:-1] == first[3:-1]
    cfg, chosen = compose(*first[3:]), valued[3].parameters
    for name in ("optimizer.generator.lr", "trick.r1.gamma", "data.batch_size"):
        assert OmegaConf.select(cfg, name) == chosen[name]
    assert cfg.objective == compose(f"objective={chosen['objective']}").objective
    assert "python -m ganlab.ablate sweep=" in text


def test_the_largest_value_is_best_if_higher_is_better(tmp_path: Path) -> None:
    assert best_trials(page(write_results(tmp_path, better="higher"))) == [9, 6, 0, 8, 2]


def test_the_pictures_are_optunas(tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    figures = known(read_search(folder))["figures"]()
    assert set(figures) == {"slice", "importance", "history"}
    panels = figures["slice"].axes[:4]
    assert {panel.get_xlabel() for panel in panels} == set(CHOSEN)
    values = {row.value for row in read(folder / "results.csv") if row.value is not None}
    assert {float(y) for _, y in panels[0].collections[0].get_offsets()} == values


@pytest.mark.parametrize("values", [{}, {3: 1.0}, {3: 1.0, 4: 1.0}])
def test_pictures_that_need_more_trials_are_left_out(values: dict[int, float], tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    (folder / "results.csv").write_text(text_of(trial_row(trial, values.get(trial)) for trial in range(5)))
    facts = known(read_search(folder))
    assert set(facts["figures"]()) == ({"slice", "history"} if values else set())
    assert values or "No answer yet: no run has finished with a number." in facts["answer"]


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    code = (
        "import sys; from ganlab.studies.report import write; from ganlab.studies.spec import read_search; "
        f"write(read_search({str(folder)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0
    text = (folder / "README.md").read_text()
    for name in ("slice.png", "importance.png", "history.png"):
        assert f"({name})" in text
        with Image.open(folder / name) as picture:
            assert picture.width >= 600
    (folder / "results.csv").unlink()
    _, answer = write(read_search(folder))
    assert answer == "After 0 of 12 runs: No answer yet: no run has finished with a number."
    assert not (folder / "slice.png").exists()


def test_trials_with_parameters_outside_the_search_are_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {2: {"parameters": {"steps": 4}}})
    with refuses(reason="trial2 has other parameters than .*sweep.yaml, line 6", remedy="give"):
        page(folder)


def test_trials_that_are_not_comparable_are_not_ranked(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {2: {"metrics": {NAME: {"value": 1.0, "n_fake": 7}}}})
    with refuses(NAME, reason="are not comparable: n_fake is 60 and 7", remedy="the same protocol"):
        page(folder)


def test_a_report_is_of_a_suite_or_of_a_search() -> None:
    with pytest.raises(ConfigError, match="suite=a and sweep=b exclude each other. Give one of them"):
        report(compose("suite=a", "sweep=b", config_name="report"))


def test_a_missing_library_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cfg: object) -> None:
        raise ModuleNotFoundError(name="optuna.trial")

    monkeypatch.setattr("ganlab.report.read_study", fail)
    with refuses(reason="studies need optuna", remedy=r"pip install 'torch-ganlab\[studies\]'"):
        report(compose("suite=a", config_name="report"))
    with pytest.raises(ModuleNotFoundError), spec.needs_studies():
        raise ModuleNotFoundError(name="torch")
