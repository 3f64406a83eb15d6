"""What a search tries next and when it gives a run up, and what the end of a trial tells it."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from optuna.trial import TrialState
from support.studies import CHOSEN, NAME, SEARCH, search_plan, trial_row, write_search
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from ganlab.config.compose import compose
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError
from ganlab.studies.search import (
    SearchPlan,
    best,
    hopeless,
    number_of,
    study_of,
    suggested,
    write_wandb_sweep,
)
from ganlab.studies.spec import Search
from ganlab.studies.table import collected, text_of


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> SearchPlan:
    return search_plan(write_search(tmp_path_factory.mktemp("sweeps") / "quick"))


def test_what_a_trial_tries_depends_on_its_number_and_on_the_trials_that_have_ended(plan: SearchPlan) -> None:
    search, ended = (
        plan.study,
        [trial_row(n, float(n), parameters=CHOSEN | {"trick.r1.gamma": (n + 1) / 2}) for n in range(12)],
    )
    first = [suggested(search, [], number, False) for number in range(3)]
    assert len({str(parameters) for parameters in first}) == 3
    assert [suggested(search, [], number, False) for number in range(3)] == first
    assert set(first[0]) == set(CHOSEN)
    assert 1e-5 <= first[0]["optimizer.generator.lr"] <= 1e-2
    assert first[0]["data.batch_size"] in (16, 32, 48, 64)
    after = suggested(search, ended, 12, False)
    assert after == suggested(search, ended[::-1], 12, False) != suggested(search, [], 12, False)
    assert suggested(changed(search, seed=1), [], 0, False) != first[0]


def changed(search: Search, **values: Any) -> Search:
    found = copy.copy(search)
    vars(found).update(values)
    return found


def test_tpe_tries_values_near_the_best(plan: SearchPlan) -> None:
    """The value is the distance of gamma to 7; random numbers would lie 2.7 away in the mean."""
    rows = []
    for number in range(40):
        tried = suggested(plan.study, rows, number, False)
        rows.append(trial_row(number, abs(tried["trick.r1.gamma"] - 7), parameters=tried))
    assert sum(row.value for row in rows[20:]) / 20 < 1.5


def test_the_states_of_trials_are_those_of_their_rows(plan: SearchPlan) -> None:
    rows = [
        trial_row(4, float("nan")),
        trial_row(0, 8.0),
        trial_row(1, None, status="failed"),
        trial_row(2, None),
        trial_row(3, None, status="diverged"),
        trial_row(5, None, status="interrupted"),
    ]
    study = study_of(plan.study, rows, False)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, *[TrialState.PRUNED] * 3]
    assert (study.best_params, study.trials[0].intermediate_values) == (CHOSEN, {20: 9.0, 40: 8.0})
    assert [row.arm for row in best([*rows, trial_row(6, 9.0)], True)] == ["trial6", "trial0"]
    with pytest.raises(ConfigError, match="arm r1, which is no trial"):
        number_of(dataclasses.replace(rows[0], arm="r1"))


def test_a_value_worse_than_the_median_is_hopeless_in_both_directions(plan: SearchPlan) -> None:
    rows = [trial_row(n, 1.0, course={"5": 1.0, "20": 9.0 + n}) for n in range(5)]
    for higher, verdicts in ((False, [False, True]), (True, [True, False])):
        for value, verdict in zip((8.0, 12.0), verdicts, strict=True):
            assert hopeless(plan.study, rows, {"5": value}, higher) is None  # too early
            found = hopeless(plan.study, rows, {"5": value, "20": value}, higher)
            assert found == (f"{value:.4g} after 20 steps is worse than the median" if verdict else None)
    assert hopeless(changed(plan.study, prune=None), rows, {"20": 12.0}, False) is None


def test_trials_of_another_search_are_refused(plan: SearchPlan, tmp_path: Path) -> None:
    folder = write_search(tmp_path / "quick")
    own, interrupted = trial_row(0, 1.0, space=plan.space), trial_row(2, None, status="interrupted")
    (folder / "results.csv").write_text(text_of([own, interrupted]))
    assert len(search_plan(folder).open()) == 2
    (folder / "results.csv").write_text(text_of([own, trial_row(1, 1.0)]))
    with pytest.raises(ConfigError, match="trial 1 is of another base, metric, data or parameters"):
        search_plan(folder)


def test_a_trial_is_the_run_of_its_parameters(plan: SearchPlan, tmp_path: Path) -> None:
    job = plan.trial("trial4", CHOSEN)
    assert (job.arm, job.seed, job.parameters, job.space) == ("trial4", 3, CHOSEN, plan.space)
    cfg = compose(*job.overrides)
    assert {name: OmegaConf.select(cfg, name) for name in list(CHOSEN)[:3]} == {
        name: value for name, value in CHOSEN.items() if name != "objective"
    }
    assert cfg.objective._target_.endswith("LeastSquares")
    # A parameter may change the data: the run knows them.
    RunDirectory(tmp_path).write_summary(status="pruned", data_sha256="5e" * 32)
    row = collected(dataclasses.replace(job, directory=tmp_path), plan.metrics)
    assert (row.data, row.parameters, row.config) == ("5e" * 6, CHOSEN, job.config)


def test_the_command_of_a_wandb_sweep_composes(plan: SearchPlan) -> None:
    """The command is expanded as by `wandb agent`."""
    assert "prune is left out" in write_wandb_sweep(plan)
    found = yaml.safe_load((plan.study.folder / "wandb.yaml").read_text())
    assert found["metric"] == {"name": NAME, "goal": "minimize"}
    assert (found["method"], found["run_cap"]) == ("bayes", 3)
    assert found["parameters"] == {
        "optimizer.generator.lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2},
        "trick.r1.gamma": {"distribution": "uniform", "min": 0.1, "max": 10.0},
        "data.batch_size": {"values": [16, 32, 48, 64]},
        "objective": {"values": ["non_saturating", "least_squares"]},
    }
    values = {"args": {name: {"value": value} for name, value in CHOSEN.items()}}
    arguments = create_sweep_command_args(values)
    arguments |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [found["program"]]}
    words = [
        word
        for part in create_sweep_command(found["command"])
        for word in (arguments[part[2:-1]] if part.startswith("${") else [part])
    ]
    assert words[:4] == ["/usr/bin/env", "python", "-m", "ganlab.run"]
    assert compose(*words[4:]).optimizer.generator.lr == CHOSEN["optimizer.generator.lr"]


def test_the_command_of_an_agent_has_the_root_of_the_data(tmp_path: Path) -> None:
    plan = search_plan(write_search(tmp_path / "quick", SEARCH))
    plan.cfg.root = "there"
    write_wandb_sweep(plan)
    assert "data.root=there" in (tmp_path / "quick" / "wandb.yaml").read_text()
