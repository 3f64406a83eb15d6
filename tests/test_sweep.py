"""`python -m ganlab.ablate sweep=...`: refusals, and one row per trial even after crashes and kills."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import optuna
import pytest
import yaml
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from PIL import Image
from support.ablate_with_forks import fork
from support.commands import environment, finish
from support.refusals import refuses
from support.small_games import ROOT
from support.studies import child_pids, start_ablate, wait_until
from support.warm_process import WarmProcess
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from ganlab.ablate import ablate
from ganlab.config.compose import compose
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import UNSET, ConfigError
from ganlab.core.numerics import NUMERICS
from ganlab.report import report
from ganlab.suites import child
from ganlab.sweeps import panels, worker
from ganlab.sweeps.command import in_words, work
from ganlab.sweeps.plan import Plan
from ganlab.sweeps.search import Search
from ganlab.sweeps.sweep import Tried, read
from ganlab.training.callbacks import weights_and_biases

QUICK = """\
question: Which rate suits a small GAN?
base: [evaluation.n=60, evaluation.n_real=60, steps=30, evaluate_every=10, checkpoint_every=5, OTHERS]
metric: fid
trials: 3
seed: 0
parameters:
  optimizer.generator.lr: {low: 1e-5, high: 1e-2, log: true}
  trick.r1.gamma: {low: 0.1, high: 10}
  data.batch_size: {low: 16, high: 64, step: 16}
  objective: [non_saturating, least_squares]
prune: {after: 10}
""".replace("OTHERS", "'metric=[fid]', logger=csv, trick=r1, seed=3, sample_every=99")
NAME = "fid/digits_train_60"
CHOSEN = {
    "optimizer.generator.lr": 1e-3,
    "trick.r1.gamma": 1.5,
    "data.batch_size": 32,
    "objective": "least_squares",
}


def write_sweep(folder: Path, text: str = QUICK) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.yaml").write_text(text)
    return folder


def make_plan(folder: Path, *extra: str) -> Plan:
    return Plan(read(folder), None, extra, folder / "runs")


def read_trials(folder: Path) -> list[Tried]:
    return Tried.read(folder / "results.csv")[0]


def trial_row(trial: int, value: float | None, **changed: Any) -> Tried:
    record = {
        "value": value,
        "better": "lower",
        "step": 40,
        "n_fake": 60,
        "extractor": "digits",
        "floor": 7.1,
        "floor_n": 360,
        "floor_split": "test",
    }
    facts: dict[str, Any] = {
        "status": "pruned" if value is None else "finished",
        "parameters": CHOSEN,
        "reason": "it was hopeless" if value is None else "",
        "course": {"20": 9.0 + trial, "40": value} if value is not None else {"20": 50.0},
        "space": "0" * 12,
        "seed": 3,
        **dict.fromkeys(("config", "data", "code", "commit"), "a" * 12),
        "steps": 40,
        "images": 1280,
        "seconds": 2.0,
        "device": "cpu",
        "finished": "2026-11-21T21:00:00Z",
        "metrics": {} if value is None else {NAME: record},
        "numerics": NUMERICS,
    }
    return Tried(trial=trial, value=value, **(facts | changed))


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write_sweep(tmp_path_factory.mktemp("sweeps") / "quick"))


def make_search(plan: Plan, folder: Path, **changed: Any) -> Search:
    return Search(dataclasses.replace(plan.sweep, **changed), folder / "a.journal", plan.more)


@pytest.fixture(scope="module")
def interrupted_sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder of a sweep that was killed in its second trial and then continued.

    Also returned: its results.csv after the kill, and the output of the continued sweep.
    """
    folder = write_sweep(tmp_path_factory.mktemp("sweeps") / "quick", QUICK.replace("trials: 3", "trials: 2"))
    process = start_sweep(folder)
    wait_until(lambda: list(folder.glob("runs/*/trial1_*/checkpoints/last.ckpt")), process)
    for pid in [process.pid, *child_pids(process)]:
        os.kill(pid, signal.SIGKILL)
    finish(process)
    before = (folder / "results.csv").read_text()
    (journal,) = folder.glob("runs/quick/*.journal")
    with journal.open("ab") as file:
        file.write(b'{"op_code":8,"wor')
    write_sweep(folder)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        patch.setattr(child, "start", fork)
        work(make_plan(folder), 1, 1, "")
    return folder, before, out.getvalue()


def start_sweep(folder: Path) -> WarmProcess:
    return start_ablate(f"sweep={folder}", f"output={folder / 'runs'}")


def test_a_killed_sweep_continues_and_repeats_nothing(interrupted_sweep: tuple[Path, str, str]) -> None:
    folder, before, out = interrupted_sweep
    found = read_trials(folder)
    assert (folder / "results.csv").read_text().startswith(before)
    assert [row.trial for row in parse_trials(before)] == [0]
    assert sorted(row.trial for row in found) == [0, 1, 2]
    assert {(row.status, row.steps, row.seed) for row in found} == {("finished", 30, 3)}
    (second,) = folder.glob("runs/quick/trial1_*/")
    summary = json.loads((second / "summary.json").read_text())
    assert f"resume={second}" in summary["command"]
    row = next(row for row in found if row.trial == 1)
    assert row.value == summary["metrics"][NAME]["value"] == row.course["30"]
    assert [*row.course] == ["10", "20", "30"]
    played = OmegaConf.load(second / "config.yaml")
    assert {name: OmegaConf.select(played, name) for name in CHOSEN if "." in name} == {
        name: value for name, value in row.parameters.items() if "." in name
    }
    assert "3 trials, 2 to play" in out
    assert "3 trials have ended: 3 finished" in out
    best = min(found, key=lambda row: row.value or 0)
    assert f"best: trial {best.trial}, {NAME}" in out


def parse_trials(text: str) -> list[Tried]:
    return list(Tried.parsed(Path("results.csv"), text))


def test_optuna_reads_the_journal_of_an_interrupted_sweep(
    interrupted_sweep: tuple[Path, str, str],
) -> None:
    folder, _, _ = interrupted_sweep
    (journal,) = folder.glob("runs/quick/*.journal")
    study = optuna.load_study(study_name="quick", storage=JournalStorage(JournalFileBackend(str(journal))))
    found = {row.trial: row for row in read_trials(folder)}
    assert {trial.number: (trial.value, trial.params) for trial in study.trials} == {
        number: (row.value, row.parameters) for number, row in found.items()
    }
    assert study.trials[1].intermediate_values == {int(k): v for k, v in found[1].course.items()}


def test_a_hopeless_run_is_pruned_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The earlier trials, recorded by another machine, were much better."""
    text = QUICK.replace("steps=30", "steps=4000").replace("trials: 3", "trials: 6")
    folder = write_sweep(tmp_path / "quick", text)
    monkeypatch.setattr(child, "start", fork)
    space = (plan := make_plan(folder)).space
    course = {str(step): 0.1 for step in range(10, 4000, 10)}
    for trial in range(5):
        trial_row(trial, 0.1, course=course, space=space).append(folder / "results.csv")
    work(plan, 1, 1, "")
    *_, found = read_trials(folder)
    assert (found.trial, found.status, found.value) == (5, "pruned", None)
    assert 10 <= found.steps < 4000
    assert "is worse than the median" in found.reason
    assert "6 trials have ended: 5 finished, 1 pruned" in capsys.readouterr().out


def test_workers_share_the_trials_and_take_over_abandoned_ones(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, list[str], TextIO]] = []
    monkeypatch.setattr(
        worker, "Child", lambda job, lock, threads: started.append((job.arm, job.overrides, lock))
    )
    plan = copy.copy(plan)
    plan.output = tmp_path
    workers = [worker.Sweeper(plan, 1, 1) for _ in range(4)]
    assert [sweeper.begin_one() for sweeper in workers] == [True, True, True, False]
    assert [name for name, _, _ in started] == ["trial0", "trial1", "trial2"]
    started[1][2].close()  # as the system does when the run and its worker are killed
    assert not workers[1].begin_one()  # a worker does not restart its own interrupted trial
    assert workers[3].begin_one()
    assert started[3][:2] == started[1][:2]
    assert not workers[3].begin_one()


def test_the_parameters_of_a_trial_depend_on_its_number_however_often_the_search_restarts(
    plan: Plan, tmp_path: Path
) -> None:
    uninterrupted = make_search(plan, tmp_path / "whole")
    drawn = [uninterrupted.parameters(uninterrupted.next() or 0) for _ in range(3)]
    assert len({str(parameters) for parameters in drawn}) == 3
    assert uninterrupted.next() is None
    for number in range(3):
        again = make_search(plan, tmp_path / "again")
        assert again.next() == number
        if number != 1:  # trial 1 is killed before its parameters are drawn
            assert again.parameters(number) == drawn[number]
    again = make_search(plan, tmp_path / "again")
    assert again.running() == [0, 1, 2]
    assert again.parameters(0) == drawn[0]
    assert set(again.parameters(1)) == set(CHOSEN)
    other = make_search(plan, tmp_path / "other", seed=1)
    assert other.parameters(other.next() or 0) != drawn[0]


def test_a_lost_journal_is_restored_from_the_results(plan: Plan, tmp_path: Path) -> None:
    search = make_search(plan, tmp_path, trials=6)
    ended = [
        trial_row(0, 8.0),
        trial_row(2, None),
        trial_row(3, None, status="diverged"),
        trial_row(4, float("nan")),
    ]
    search.catch_up([*ended, trial_row(1, None, status="failed")])
    states = [trial.state for trial in search.study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, *[TrialState.PRUNED] * 3]
    assert search.study.best_params == CHOSEN
    with pytest.raises(ConfigError, match="results.csv lacks trial 1, of which .*a.journal knows: restore"):
        search.catch_up(ended)

    gap = make_search(plan, tmp_path / "gap", trials=6)
    gap.catch_up(ended)
    assert [gap.next(), gap.next(), gap.next()] == [1, 5, None]
    gap.catch_up([*ended, trial_row(1, 3.0), trial_row(5, 2.0)])
    assert gap.running() == []
    assert (gap.study.best_value, gap.study.trials[1].state) == (2.0, TrialState.COMPLETE)


def test_a_value_worse_than_the_median_is_hopeless_in_both_directions(plan: Plan, tmp_path: Path) -> None:
    for more, verdicts in ((False, [False, True]), (True, [True, False])):
        place = tmp_path / str(more)
        search = Search(dataclasses.replace(plan.sweep, trials=9), place / "a.journal", more)
        search.catch_up([trial_row(n, 1.0, course={"5": 1.0, "20": 9.0 + n}) for n in range(5)])
        for value, verdict in zip((8.0, 12.0), verdicts, strict=True):
            number = search.next()
            assert number is not None
            search.parameters(number)
            search.report(number, {"5": value})
            assert search.hopeless(number) is None  # too early
            search.report(number, {"5": value, "20": value})
            assert (search.hopeless(number) is not None) is verdict


def test_trials_of_another_sweep_are_refused(plan: Plan, tmp_path: Path) -> None:
    plan.refuse_others([trial_row(0, 1.0, space=plan.space)])
    with pytest.raises(ConfigError, match="trial 1 is of another base, metric, data or parameters"):
        plan.refuse_others([trial_row(0, 1.0, space=plan.space), trial_row(1, 1.0)])
    other = make_plan(write_sweep(tmp_path / "other", QUICK.replace("high: 10}", "high: 11}")))
    assert other.space != plan.space
    same = make_plan(
        write_sweep(tmp_path / "same", QUICK.replace("trials: 3", "trials: 9").replace("prune:", "#"))
    )
    assert same.space == plan.space


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials: 3", "trails: 3", "line 4: trails is unknown in the sweep: choose from question"),
        ("seed: 0\n", "", "line 1: the sweep lacks seed: it needs"),
        ("trials: 3", "trials: 0", "line 4: trials: 0 must be a whole number of at least 1"),
        ("low: 1e-5", "low: 1e-2", "line 7: optimizer.generator.lr: low=0.01 must be below high=0.01"),
        ("low: 1e-5", "low: 0", "line 7: optimizer.generator.lr: low=0 must be above 0 where log is true"),
        ("low: 1e-5", "low: few", "line 7: optimizer.generator.lr: low=few must be a number"),
        ("log: true", "log: 1", "line 7: .*lr.log: 1 must be true or false"),
        ("log: true", "lag: true", "line 7: lag is unknown in optimizer.generator.lr: choose from low"),
        ("log: true", "log: true, step: 1", "line 7: .*step and log exclude each other"),
        ("{low: 0.1, high: 10}", "{low: 0.1}", "line 8: trick.r1.gamma lacks high"),
        ("{low: 0.1, high: 10}", "0.1", "line 8: trick.r1.gamma must be a list of choices, or"),
        ("step: 16", "step: 20", "line 9: .*no number of steps of 20 leads from 16 to 64: high=56 would do"),
        ("least_squares]", "non_saturating]", "line 10: objective: non_saturating stands there twice"),
        ("least_squares]", "[a]]", "line 10: objective: a choice must be a text"),
        ("[non_saturating, least_squares]", "[hinge]", "line 10: objective has nothing to choose from"),
        ("after: 10", "from: 10", "line 11: from is unknown in prune: choose from after"),
        ("after: 10", "after: -1", "line 11: prune.after: -1 must be a whole number of at least 0"),
    ],
)
def test_an_invalid_sweep_is_refused_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in QUICK
    with pytest.raises(ConfigError, match=f"sweep.yaml, {message}"):
        read(write_sweep(tmp_path / "quick", QUICK.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trick.r1.gamma", "trick.r1.gama", "line 8: trick.r1.gama=0.1 does not compose: .*gama"),
        ("trick.r1.gamma", "trick.ema.decay", "line 8: trick.ema.decay=0.1 does not compose: .*ema"),
        ("trick.r1.gamma", "seed", "line 8: seed is luck, and no parameter"),
        ("trick.r1.gamma", "run_dir", "line 8: run_dir is set for each run: leave it out"),
        ("trick.r1.gamma", "steps", "line 8: steps stands in base too, as steps=30"),
        (
            "objective: [non_saturating, least_squares]",
            "log_every: [3, 4]",
            "line 10: log_every=4 is the same run as log_every=3",
        ),
        ("least_squares]", "lost_squares]", "line 10: objective=lost_squares does not compose"),
        ("least_squares]", "mmd]", "line 10: objective=mmd: "),
        ("metric: fid", "metric: kid", "line 3: kid: is not measured. Choose one of fid"),
        ("evaluate_every=10", "evaluate_every=30", "line 11: prune has no effect: with evaluate_every=30"),
        ("after: 10", "after: 21", "line 11: prune has no effect: .* between round 21 and the last, 30"),
        ("seed=3", "job=3", "line 2: job=3 is set for each run"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused_before_anything_runs(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in QUICK
    folder = write_sweep(tmp_path / "quick", QUICK.replace(old, new, 1))
    with pytest.raises(ConfigError, match=f"sweep.yaml, {message}"):
        make_plan(folder)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("overrides", "key", "value", "reason"),
    [
        (["suite=here"], "", UNSET, "suite=here and sweep=.* exclude each other: give one of them"),
        (["only=[r1]"], "", UNSET, "only=.*r1.* has no effect where a sweep is played: leave it out"),
        (["rerun=failed"], "", UNSET, "rerun=failed has no effect where a sweep is played"),
        (
            ["wandb=true", "dry_run=true"],
            "",
            UNSET,
            "wandb=true plays nothing, so dry_run=true has no effect",
        ),
        (["wandb=maybe"], "wandb", "maybe", "must be true or false"),
        (['extra=["steps=5"]'], "", UNSET, "extra=.*steps=5.* changes what the runs are"),
        (["root=here"], "", UNSET, "root=here has no effect: the data of this sweep lie in no folder"),
    ],
)
def test_unusable_settings_are_refused(
    overrides: list[str], key: str, value: object, reason: str, plan: Plan
) -> None:
    with refuses(key, value, reason):
        ablate(compose(f"sweep={plan.sweep.folder}", *overrides, config_name="ablate"))


def test_wandb_has_no_effect_with_a_suite() -> None:
    with pytest.raises(ConfigError, match="wandb=True has no effect where a suite is played"):
        ablate(compose("suite=here", "wandb=true", config_name="ablate"))


def test_the_command_of_a_wandb_sweep_composes(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """The command is expanded as by `wandb agent`."""
    folder = plan.sweep.folder
    ablate(compose(f"sweep={folder}", "wandb=true", config_name="ablate"))
    assert "prune is left out" in capsys.readouterr().out
    found = yaml.safe_load((folder / "wandb.yaml").read_text())
    assert found["metric"] == {"name": NAME, "goal": "minimize"}
    assert found["method"] == "bayes"
    assert found["parameters"] == {
        "optimizer.generator.lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2},
        "trick.r1.gamma": {"distribution": "uniform", "min": 0.1, "max": 10.0},
        "data.batch_size": {"values": [16, 32, 48, 64]},
        "objective": {"values": ["non_saturating", "least_squares"]},
    }
    arguments = create_sweep_command_args(
        {"args": {name: {"value": value} for name, value in CHOSEN.items()}}
    )
    arguments |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [found["program"]]}
    words = [
        word
        for part in create_sweep_command(found["command"])
        for word in (arguments[part[2:-1]] if part.startswith("${") else [part])
    ]
    assert words[:4] == ["/usr/bin/env", "python", "-m", "ganlab.run"]
    assert_config(words[4:], CHOSEN)


def test_the_command_of_an_agent_has_the_root_of_the_data(plan: Plan) -> None:
    rooted = copy.copy(plan)
    rooted.root = "there"
    assert "data.root=there" in in_words(rooted)["command"]
    assert not any("data.root" in word for word in in_words(plan)["command"])


def assert_config(overrides: list[str], chosen: Mapping[str, Any]) -> None:
    """The overrides compose to a config with the chosen parameters."""
    cfg = compose(*overrides)
    for name, value in chosen.items():
        if name != "objective":
            assert OmegaConf.select(cfg, name) == value, name
    assert cfg.objective == compose(f"objective={chosen['objective']}").objective
    assert cfg.steps == 30


def test_a_run_of_an_agent_keeps_its_given_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """wandb.init ignores any other id in a sweep, and a resume would not find the run."""
    ids: list[str] = []

    def record_id(may_fall_back_to_offline: bool, **settings: Any) -> None:
        ids.append(settings["id"])
        raise ConfigError("enough")

    monkeypatch.setattr(weights_and_biases, "init_run", record_id)
    for number, variables in enumerate(({"WANDB_SWEEP_ID": "s"}, {})):
        run = RunDirectory(tmp_path / str(number))
        run.make_folders()
        monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
        for name, value in {"WANDB_RUN_ID": "given", **variables}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError, match="enough"):
            weights_and_biases.Wandb("offline", False, run, project="p")
        assert run.summary()["wandb_run_id"] == ids[-1]
    assert ids[0] == "given" != ids[1]


def write_results(root: Path, changed: Mapping[int, dict[str, Any]] | None = None, **provenance: Any) -> Path:
    """A sweep with invented results; the trials without a value are pruned."""
    folder = write_sweep(root / "experiments" / "quick", QUICK.replace("trials: 3", "trials: 12"))
    for trial, value in enumerate([30.0, None, 22.5, 17.25, None, 19.0, 41.0, 18.0, 25.0, 90.0]):
        batch, objective = 16 + 16 * (trial % 4), ["non_saturating", "least_squares"][trial % 2]
        chosen = {**CHOSEN, "optimizer.generator.lr": 10 ** (-5 + trial / 4)}
        chosen |= {"data.batch_size": batch, "objective": objective}
        found = trial_row(trial, value, parameters=chosen)
        for record in found.metrics.values():
            record |= provenance
        dataclasses.replace(found, **(changed or {}).get(trial, {})).append(folder / "results.csv")
    return folder


def report_text(folder: Path) -> str:
    return report(compose(f"sweep={folder}", config_name="report")).read_text()


def best_trials(text: str) -> list[int]:
    lines = next(block for block in text.split("\n\n") if block.startswith("| trial")).splitlines()
    return [int(line.split("|")[1]) for line in lines[2:] if line.split("|")[1].strip().isdigit()]


def test_the_report_has_the_best_trials_and_their_commands(tmp_path: Path) -> None:
    broke = {"status": "failed", "reason": "no memory"}
    lost = {"status": "diverged", "reason": "diverged at step 7: the loss is nan"}
    text = report_text(
        folder := write_results(tmp_path, {1: broke, 9: {**lost, "value": None, "metrics": {}}})
    )
    valued = [row for row in read_trials(folder) if row.status == "finished"]
    expected = [row.trial for row in sorted(valued, key=lambda row: row.value or 0)][:5]
    assert best_trials(text) == expected == [3, 7, 5, 2, 8]
    assert f"After 10 of 12 trials: in `{NAME}` the best of 10 trials is trial 3, with 17.25: `opt" in text
    assert "- 10 trials: 7 finished, 1 pruned, 1 failed and 1 diverged." in text
    assert "- Failed: trial 1 (no memory)." in text
    assert "- Diverged: trial 9." in text
    assert "| (real data) | 7.10 |" in text
    assert "The best of 7 numbers flatters its parameters" in text
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("python -m ganlab.run")]
    again, first = lines[:2]
    assert again[3] == "-m"
    assert again[-1] == "seed=1,2,4"  # seed 3 has chosen the parameters
    assert first[-1] == "seed=3"
    assert [word for word in again[4:-1]] == first[3:-1]
    assert_config(first[3:], next(row for row in valued if row.trial == 3).parameters)
    assert "python -m ganlab.ablate sweep=experiments/quick" in text
    with Image.open(folder / "panels.png") as picture:
        assert picture.width > 900


def test_the_largest_value_is_best_if_higher_is_better(tmp_path: Path) -> None:
    assert best_trials(report_text(write_results(tmp_path, better="higher"))) == [9, 6, 0, 8, 2]


def test_the_picture_shows_each_trial_by_each_parameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    render = panels.render
    monkeypatch.setattr(panels, "render", lambda figure: figures.append(figure) or render(figure))
    folder = write_results(tmp_path)
    found = {row.trial: row for row in read_trials(folder)}
    report_text(folder)
    parts = figures[0].axes
    assert [part.get_xlabel() for part in parts] == list(CHOSEN)
    assert [part.get_xscale() for part in parts] == ["log", "linear", "linear", "linear"]
    pruned, finished, best = parts[0].lines
    assert (pruned.get_fillstyle(), finished.get_fillstyle()) == ("none", "full")
    lr = {number: row.parameters["optimizer.generator.lr"] for number, row in found.items()}
    assert set(zip(*pruned.get_data(), strict=True)) == {(lr[1], 50.0), (lr[4], 50.0)}
    assert set(zip(*finished.get_data(), strict=True)) == {
        (lr[number], row.value) for number, row in found.items() if row.value is not None
    }
    assert [tuple(map(float, axis)) for axis in best.get_data()] == [(lr[3],), (17.25,)]
    assert [label.get_text() for label in parts[3].get_xticklabels()] == ["non_saturating", "least_squares"]
    assert all(abs(x - 1) < 0.5 for x in parts[3].lines[2].get_xdata())  # trial 3 has the second choice


def test_a_report_needs_neither_torch_nor_optuna(tmp_path: Path) -> None:
    folder = write_results(tmp_path)
    code = (
        "import sys; from ganlab.sweeps.document import write; from ganlab.sweeps.sweep import read; "
        f"write(read({str(folder)!r})); sys.exit(bool({{'torch', 'optuna'}} & {{*sys.modules}}))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0
    (folder / "results.csv").unlink()
    assert "No answer yet: nothing has been run." in report_text(folder)
    assert not (folder / "panels.png").exists()


def test_trials_with_parameters_outside_the_sweep_are_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {2: {"parameters": {"steps": 4}}})
    with refuses(reason="trial 2 has other parameters than .*sweep.yaml, line 7: give"):
        report_text(folder)


def test_trials_that_are_not_comparable_are_not_ranked(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {2: {"metrics": {NAME: {"value": 1.0, "n_fake": 7}}}})
    with refuses(NAME, reason="are not comparable: n_fake is 60 and 7", remedy="the same protocol"):
        report_text(folder)


def test_a_report_is_of_a_suite_or_of_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="suite=a and sweep=b exclude each other: give one of them"):
        report(compose("suite=a", "sweep=b", config_name="report"))


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("experiments/*/sweep.yaml")), ids=lambda path: path.parent.name
)
def test_shipped_sweeps_can_be_run(path: Path) -> None:
    assert make_plan(path.parent).name
