"""`python -m ganlab.ablate suite=...`: refusals, and one row per run even after crashes and kills."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.ablate_with_forks import fork
from support.commands import bitwise_equal, environment, finish, summary
from support.refusals import refuses
from support.small_games import ROOT
from support.studies import ROW, child_pids, start_ablate, wait_until, write_suite
from support.warm_process import WarmProcess

from ganlab.ablate import ablate, shared_out
from ganlab.config.build import build_data
from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.config.run_directory import RunDirectory
from ganlab.config.saved_config import allowed_targets
from ganlab.core.errors import UNSET, ConfigError
from ganlab.core.numerics import NUMERICS
from ganlab.data.vision import Stacks
from ganlab.suites import child, estimate, identity
from ganlab.suites import plan as plans
from ganlab.suites import standing as standings
from ganlab.suites import suite as suites
from ganlab.suites.answer import foresight
from ganlab.suites.child import Child, right_to
from ganlab.suites.composed import Composed
from ganlab.suites.plan import Job, plan, refuse_own, refuse_twins
from ganlab.suites.results import Row
from ganlab.suites.standing import Standing, standing
from ganlab.suites.words import duration
from ganlab.suites.worker import Worker

QUICK = """\
question: Does EMA help?
base: [model=gan, steps=4, 'metric=[fid]', evaluation.n=60, evaluation.n_real=60, logger=csv]
seeds: 2
metrics: [fid]
arms:
  plain: {}
  ema: {overrides: [trick=ema]}
"""


def plan_jobs(folder: Path, *extra: str) -> list[Job]:
    return plan(suites.read(folder), [], None, extra, folder / "runs")


def start_suite(folder: Path, *overrides: str) -> WarmProcess:
    return start_ablate(f"suite={folder}", f"output={folder / 'runs'}", *overrides)


def read_rows(folder: Path) -> list[Row]:
    return Row.read(folder / "results.csv")[0]


def run_directories(folder: Path, arm: str, seed: int) -> list[Path]:
    """The directories of a run's attempts that have a checkpoint."""
    return [path.parents[1] for path in folder.glob(f"runs/*/{arm}_seed{seed}_*/checkpoints/last.ckpt")]


@pytest.mark.parametrize(
    ("arms", "seeds", "pattern"),
    [
        (
            "{a: {}, b: {}}",
            5,
            "5 seeds show, with 80 % power at 5 %, a difference of 1.7 standard deviations",
        ),
        ("{a: {}, b: {}, c: {}, d: {}, e: {}, f: {}}", 3, "of 3.3 .* of 7.3 at the first step of .* for 5"),
        ("{a: {}, b: {}}", 1, "one seed shows no difference"),
        ("{a: {}}", 5, "nothing to compare"),
    ],
)
def test_the_power_of_a_suite_is_printed_in_advance(
    tmp_path: Path, arms: str, seeds: int, pattern: str
) -> None:
    text = f"question: Well?\nbase: []\nseeds: {seeds}\nmetrics: [fid]\narms: {arms}\n"
    suite = suites.read(write_suite(tmp_path / "suite", text))
    assert re.search(pattern, foresight(suite))


SHIPPED = {
    path.parent for name in ("suite.yaml", "results.csv") for path in ROOT.glob(f"experiments/*/{name}")
}


@pytest.mark.parametrize("shipped", sorted(SHIPPED), ids=lambda path: path.name)
def test_shipped_suites_can_be_run_and_shipped_results_belong_to_the_present_arms(shipped: Path) -> None:
    """If a change of conf/ gives an arm another config, its rows must be given the new hash or be rerun."""
    suite = suites.read(shipped)
    refuse_own(suite)
    arms = {
        arm.name: Composed(arm.name, suite.name, arm.name, suite.base + arm.overrides, None, [])
        for arm in suite.arms.values()
    }
    refuse_twins(suite, arms)
    for arm in arms.values():
        check_config(arm.of(0), arm.overrides)
    recorded = {(row.arm, row.seed): row.config for row in read_rows(shipped)}
    assert recorded == {(arm, seed): arms[arm].config for arm, seed in recorded}


def test_a_suite_that_is_killed_twice_ends_with_one_row_per_run(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "quick", QUICK.replace("steps=4", "steps=60, checkpoint_every=5"))
    process = start_suite(folder)
    wait_until(lambda: run_directories(folder, "ema", 0), process)
    for pid in [process.pid, *child_pids(process)]:
        os.kill(pid, signal.SIGKILL)
    finish(process)
    assert [(row.arm, row.seed) for row in read_rows(folder)] == [("plain", 0)]
    (first,), (second,) = run_directories(folder, "plain", 0), run_directories(folder, "ema", 0)
    played = (first / "summary.json").stat().st_mtime_ns
    whole = (folder / "results.csv").read_bytes()
    with (folder / "results.csv").open("ab") as file:
        file.write(b"ema,0,fin")

    process = start_suite(folder)
    wait_until(lambda: run_directories(folder, "plain", 1), process)
    process.terminate()
    status, out, err = finish(process)
    assert status == 130, out + err
    assert "the last row is half-written and is left out" in out
    assert "2 runs are left; the same command goes on" in out
    (third,) = run_directories(folder, "plain", 1)
    assert summary(third)["status"] == "stopped"
    assert f"resume={second}" in summary(second)["command"]

    status, out, err = finish(start_suite(folder))
    assert status == 0, out + err
    assert "4 runs, 2 to play" in out
    assert "(0 left)" in out
    assert "python -m ganlab.report suite=" in out
    assert f"resume={third}" in summary(third)["command"]
    found = read_rows(folder)
    assert [(row.arm, row.seed) for row in found] == [("plain", 0), ("ema", 0), ("plain", 1), ("ema", 1)]
    assert {(row.status, row.steps, row.images, row.device) for row in found} == {
        ("finished", 60, 3840, "cpu, 1 thread")
    }
    assert (folder / "results.csv").read_bytes().startswith(whole)
    assert (first / "summary.json").stat().st_mtime_ns == played
    record = summary(first)["metrics"]
    assert found[0].metrics == record
    assert found[0].value == record["fid/digits_train_60"]["value"]
    for arm, run in (("plain", first), ("ema", second)):  # of the first seed
        picture = (folder / "samples" / f"{arm}.png").read_bytes()
        assert picture == (run / "samples" / "0000060.png").read_bytes()


def test_two_workers_share_the_runs(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "quick", QUICK)
    workers = [start_suite(folder, f"worker={name}") for name in ("one", "two")]
    outs = []
    for worker in workers:
        status, out, err = finish(worker)
        assert status == 0, out + err
        outs.append(out)
    assert "worker one: 4 runs" in outs[0]
    assert sorted((row.arm, row.seed) for row in read_rows(folder)) == [
        ("ema", 0),
        ("ema", 1),
        ("plain", 0),
        ("plain", 1),
    ]
    assert all("finished  fid/digits_train_60" in out for out in outs)


def test_runs_that_fail_or_diverge_are_recorded_and_the_suite_continues(tmp_path: Path) -> None:
    arms = "{overrides: ['optimizer.generator.lr=1e30']}\n  breaks: {overrides: [trick=mine]}\n  ema:"
    own = tmp_path / "settings" / "trick" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("mine:\n  _target_: support.breaking_trick.Breaking\n")
    folder = write_suite(tmp_path / "bad", QUICK.replace("{}\n  ema:", arms).replace("seeds: 2", "seeds: 1"))
    status, out, err = finish(start_suite(folder, f"--config-dir={own.parents[1]}"))
    assert status == 1, out + err
    assert "ablate: of 3 runs 1 failed, 1 diverged: the same command goes on" in err
    diverged, failed, finished = read_rows(folder)
    assert (diverged.arm, diverged.status, diverged.value) == ("plain", "diverged", None)
    assert "diverged at step" in diverged.reason
    assert (failed.arm, failed.status, failed.reason, failed.steps) == ("breaks", "failed", "it broke", 2)
    assert finished.status == "finished"
    assert set(out.split("(0 left)")[0].splitlines()[-1].split()) >= {"ema", "finished"}

    # Neither is run again unless `rerun` is set. A resume trusts the user's own class.
    (folder / "suite.yaml").write_text(
        (folder / "suite.yaml")
        .read_text()
        .replace("trick=mine", "+trick.mine._target_=support.breaking_trick.Breaking")
    )
    suite, jobs = suites.read(folder), plan_jobs(folder)
    assert Worker(suite, jobs, 1, 1, None).left() == []
    assert Worker(suite, jobs, 1, 1, "failed").left() == [0, 1]
    again = Worker(suite, jobs, 1, 1, "failed")
    dataclasses.replace(failed, reason="it broke again").append(suite.results)
    assert again.left() == [0]
    words = child.arguments(jobs[1])
    assert words[:3] == [f"resume={jobs[1].directory}", "trust=[support]", "logger=csv"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_suite(tmp_path_factory.mktemp("suites") / "quick", QUICK)


@pytest.fixture(scope="module")
def jobs(folder: Path) -> list[Job]:
    return plan_jobs(folder)


def row_of(job: Job, **changes: object) -> Row:
    known = {name: getattr(job, name) for name in ("arm", "seed", "config", "data", "code")}
    return dataclasses.replace(ROW, **known | changes)


def test_every_arm_runs_with_one_seed_before_the_next_seed(jobs: list[Job]) -> None:
    assert [(job.arm, job.seed) for job in jobs] == [("plain", 0), ("ema", 0), ("plain", 1), ("ema", 1)]
    assert len({job.directory for job in jobs}) == 4
    assert jobs[0].config == jobs[2].config != jobs[1].config  # the hash leaves the seed out
    assert jobs[0].names == ["fid/digits_train_60"]
    assert jobs[3].directory.parent == jobs[3].output
    assert jobs[3].directory.name.startswith("ema_seed1_")


def test_rows_of_other_numerics_are_stale_and_rows_of_another_config_do_not_count(
    jobs: list[Job],
) -> None:
    job = jobs[0]
    assert standing(job, []) == Standing(None, False, False, 0)
    assert standing(job, []).describe(job) == "to run"
    stale = standing(job, [row_of(jobs[1]), row_of(job, numerics=0)])
    assert stale.describe(job) == "finished, stale"
    assert (stale.done(None), stale.done("failed"), stale.done("stale")) == (True, True, False)
    current = standing(job, [row_of(job, numerics=0), row_of(job, code="f" * 12)])
    assert (current.describe(job), current.done("stale")) == ("finished", True)
    for change in ("config", "data"):
        other = standing(job, [row_of(job, **{change: "f" * 12})])
        assert other.describe(job) == "recorded of another config or of other data; to run"
        assert not other.done(None)
    diverged = standing(job, [row_of(job, status="diverged", reason="at once")])
    assert diverged.describe(job) == "diverged: at once"
    assert (diverged.done(None), diverged.done("failed")) == (True, False)


def test_a_change_of_the_code_starts_no_run_and_makes_no_row_stale(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite_folder = shutil.copytree(folder, tmp_path / "quick")
    suite, before = suites.read(suite_folder), plan_jobs(suite_folder)
    row_of(before[0]).append(suite.results)
    worker = Worker(suite, before, 1, 1, None)
    monkeypatch.setattr(identity, "code", lambda: "f" * 12)
    worker.work()
    assert "has changed since this began: call again" in str(worker.stopped)
    assert (len(worker.left()), len(read_rows(suite_folder))) == (3, 1)
    after = plan_jobs(suite_folder)
    assert after[0].directory == before[0].directory
    assert not standing(after[0], read_rows(suite_folder)).stale
    assert Worker(suite, after, 1, 1, "stale").left() == [1, 2, 3]


def test_other_numerics_make_rows_stale_and_use_other_directories(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite_folder = shutil.copytree(folder, tmp_path / "quick")
    suite, before = suites.read(suite_folder), plan_jobs(suite_folder)
    row_of(before[0]).append(suite.results)
    directory = before[0].directory
    for module in (plans, standings):
        monkeypatch.setattr(module, "NUMERICS", NUMERICS + 1)
    after = plan_jobs(suite_folder)
    assert after[0].directory != directory
    assert Worker(suite, after, 1, 1, None).left() == [1, 2, 3]
    assert Worker(suite, after, 1, 1, "stale").left() == [0, 1, 2, 3]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_recorded_as_a_failure_with_its_last_output(
    number: int, jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"import os; print('out of reach', flush=True); os.kill(os.getpid(), {int(number)})"
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-c", script))
    suite = suites.read(write_suite(tmp_path / "quick", QUICK))
    Worker(suite, [dataclasses.replace(jobs[0], output=tmp_path)], 1, 1, None).work()
    (row,) = read_rows(suite.folder)
    name = signal.Signals(number).name
    assert (row.status, row.reason) == ("failed", f"killed by {name}: out of reach")


def test_a_killed_run_is_reported_with_the_signal(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import os; os.kill(os.getpid(), 9)"
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-c", script))
    suite = suites.read(write_suite(tmp_path / "quick", QUICK))
    worker = Worker(suite, [dataclasses.replace(jobs[0], output=tmp_path)], 1, 1, None)
    worker.work()
    assert (worker.left(), worker.interrupted, read_rows(suite.folder)) == ([0], 1, [])
    assert "plain  seed 0  interrupted by SIGKILL (" in capsys.readouterr().out


def test_the_sample_grid_is_of_the_first_finished_seed(jobs: list[Job], tmp_path: Path) -> None:
    suite = suites.read(write_suite(tmp_path / "quick", QUICK))
    plain = [job for job in jobs if job.arm == "plain"]
    worker = Worker(suite, plain, 1, 1, None)
    assert [worker.first_seed(job) for job in plain] == [True, False]
    row_of(plain[0], status="diverged").append(suite.results)
    assert worker.first_seed(plain[1])


def test_a_row_records_the_threads_of_a_cpu() -> None:
    assert child.device({"device": "cpu", "threads": 2}) == "cpu, 2 threads"
    assert child.device({"device": "cpu", "threads": 1}) == "cpu, 1 thread"
    assert child.device({"device": "NVIDIA H100", "threads": 2}) == "NVIDIA H100"
    assert child.device({"device": "cpu"}) == "cpu"


def test_stale_rows_are_reported_even_if_nothing_is_run(
    folder: Path, jobs: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite_folder = shutil.copytree(folder, tmp_path / "quick")
    for job in jobs:
        row_of(job, numerics=0).append(suite_folder / "results.csv")
    ablate(compose(f"suite={suite_folder}", config_name="ablate"))
    out = capsys.readouterr().out
    assert "4 runs, 0 to play" in out
    assert "4 runs are stale, their numbers have changed since: rerun=stale plays them again" in out


def test_a_finished_run_is_recorded_without_another_run(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a run was started")

    monkeypatch.setattr(child, "start", fail)
    suite = suites.read(write_suite(tmp_path / "quick", QUICK))
    job = dataclasses.replace(jobs[0], output=tmp_path)
    run = RunDirectory(job.directory)
    run.make_folders()
    run.write_config(job.cfg)
    record = {"fid/digits_train_60": {"value": 2.5}, "is/digits_60": {"value": 8.0}}
    run.write_summary(
        status="finished",
        steps=4,
        images=256,
        seconds=1.5,
        commit="a" * 40 + "+",
        device="cpu",
        metrics=record,
    )
    # jobs[1] has been recorded and then its arm was run with another config. Reports use the last row, so
    # the worker must append the known row again.
    known, other = row_of(jobs[1]), row_of(jobs[1], config="f" * 12)
    for row in (known, other):
        row.append(suite.results)
    worker = Worker(suite, [job, jobs[1]], 1, 1, None)
    worker.work()
    assert not worker.left()
    *_, again, found = read_rows(suite.folder)
    assert again == known
    assert (found.status, found.value, found.seconds, found.commit) == ("finished", 2.5, 1.5, "a" * 12 + "+")
    assert found.metrics == {"fid/digits_train_60": {"value": 2.5}}  # only the metrics of the suite


def test_a_run_holds_its_lock_even_if_ablate_is_killed(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import time; print('run: no luck'); time.sleep(0.5); raise SystemExit(2)"
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-c", script))
    suite = suites.read(write_suite(tmp_path / "quick", QUICK))
    job = dataclasses.replace(jobs[0], output=tmp_path)
    lock = right_to(suite.folder, job)
    assert lock is not None
    orphan = Child(job, lock, 1)
    lock.close()  # as the system does when a process is killed
    elsewhere = dataclasses.replace(job, output=tmp_path / "elsewhere")  # as from another working directory
    assert right_to(suite.folder, elsewhere) is None
    waiting = Worker(suite, [elsewhere], 1, 1, None)
    waiting.work()
    assert not elsewhere.output.exists()
    assert (waiting.left(), read_rows(suite.folder)) == ([0], [])
    orphan.process.wait()
    Worker(suite, [job], 1, 1, None).work()
    (found,) = read_rows(suite.folder)
    assert (found.status, found.reason, found.steps, found.value) == ("failed", "no luck", 0, None)


def test_a_dry_run_prints_the_status_of_each_run_and_writes_nothing(
    jobs: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "start", fork)
    suite_folder = write_suite(tmp_path / "quick", QUICK)
    for row in (
        row_of(jobs[0]),
        row_of(jobs[1], numerics=0),
        row_of(jobs[3], status="diverged", reason="so"),
    ):
        row.append(suite_folder / "results.csv")
    before = sorted(tmp_path.rglob("*"))
    overrides = [
        f"suite={suite_folder}",
        "dry_run=true",
        "threads=1",
        "processes=1",
        f"output={tmp_path / 'runs'}",
    ]
    ablate(compose(*overrides, config_name="ablate"), overrides)
    assert sorted(tmp_path.rglob("*")) == before
    out = capsys.readouterr().out
    assert "plain  seed 0  finished\n" in out
    assert "ema    seed 0  finished, stale\n" in out
    assert "plain  seed 1  to run\n" in out
    assert "ema    seed 1  diverged: so\n" in out
    assert "  plain  1 runs, 4 rounds of " in out
    assert "ema    1 runs" not in out
    assert "without the evaluations (up to 1 a run)" in out


@pytest.mark.parametrize(
    ("old", "new", "extra", "message"),
    [
        ("trick=ema", "trick=emma", (), "line 7: arm ema does not compose: .*emma"),
        ("model=gan", "model=gun", (), "line 2 does not compose: .*gun"),
        ("trick=ema", "trick.ema=1", (), "line 7: arm ema does not compose: .*ema"),
        (
            "[trick=ema]",
            "['objective=hinge', 'trick=label_smoothing']",
            (),
            "line 7: arm ema: trick=label_smoothing: needs an objective with targets",
        ),
        ("[trick=ema]", "['data.batch_size=0']", (), "line 7: arm ema does not compose: .*batch_size=0"),
        (
            "metrics: [fid]",
            "metrics: [fid, kid]",
            (),
            "line 4: in arm plain kid: is not measured. Choose one of",
        ),
        ("[trick=ema]", "['name=other']", (), "line 7: arm ema has the config of arm plain: change"),
        ("trick=ema", "seed=3", (), "line 7: seed=3 is set for each run .the seeds stand in `seeds`"),
        (
            "trick=ema",
            "evaluation.n=70",
            (),
            "arm ema measures .*_70, arm plain .*_60: give all arms the same",
        ),
        ("", "", ("steps=5",), r"extra=\['steps=5'\] changes what the runs are .*line 6: arm plain"),
        ("", "", ("run_dir=here",), "extra: run_dir=here is set for each run"),
        ("", "", ("no.such=1",), "extra=.* does not compose: .*no"),
    ],
)
def test_a_suite_that_cannot_be_run_is_refused_before_anything_runs(
    old: str, new: str, extra: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_jobs(write_suite(tmp_path / "quick", QUICK.replace(old, new, 1)), *extra)


@pytest.mark.parametrize(
    ("override", "key", "value", "reason"),
    [
        ("rerun=all", "rerun", "all", "must be one of stale, failed or null"),
        ("dry_run=maybe", "dry_run", "maybe", "must be true or false"),
        ("processes=0", "processes", 0, "must be a whole number of at least 1"),
        ("extra=logger", "extra", "logger", "must be a list"),
        ("only=[none]", "", UNSET, "only=none is no arm of quick: choose from plain, ema"),
        ("root=here", "", UNSET, "root=here has no effect: the data of this suite lie in no folder"),
        ("suite=nowhere", "", UNSET, "suite=nowhere has no suite.yaml that can be read"),
    ],
)
def test_unusable_settings_are_refused(
    override: str, key: str, value: object, reason: str, folder: Path
) -> None:
    with refuses(key, value, reason):
        ablate(compose(f"suite={folder}", override, config_name="ablate"))


@pytest.mark.parametrize("name", ["2024", "my suite, v=2", "null", "it's"])
def test_every_suite_name_can_be_a_wandb_group(name: str, tmp_path: Path) -> None:
    text = QUICK.replace(", logger=csv", "").replace("seeds: 2", "seeds: 1")
    _, job = plan_jobs(write_suite(tmp_path / name, text.replace("  ema:", "  'null':")))
    wandb = compose(*job.overrides, *job.outside).logger.wandb
    assert (wandb.group, wandb.job_type) == (name, "null")


def test_wandb_groups_the_runs_and_logger_settings_do_not_change_a_run(
    folder: Path, jobs: list[Job], tmp_path: Path
) -> None:
    text = QUICK.replace(", logger=csv", "").replace("seeds: 2", "seeds: 1")
    suite_folder = write_suite(tmp_path / "quick", text)
    job = plan_jobs(suite_folder)[1]
    assert job.outside == ['logger.wandb.group="quick"', 'logger.wandb.job_type="ema"']
    extra = ("logger.wandb.group=mine", "trainer.accelerator=cpu", "log_every=3")
    other = plan_jobs(suite_folder, *extra)[1]
    assert other.outside == [*extra, 'logger.wandb.job_type="ema"']
    assert (job.config, job.data, job.code) == (other.config, other.data, other.code)
    assert job.config == jobs[1].config
    run = RunDirectory(other.directory)
    assert child.arguments(other) == [*other.overrides, "seed=0", f"run_dir={run.path}", *other.outside]
    run.make_folders()
    run.write_config(other.cfg)
    assert child.arguments(other) == [
        f"resume={run.path}",
        "logger=wandb",
        "logger.wandb.group=mine",
        'logger.wandb.job_type="ema"',
        "trainer.accelerator=cpu",
        "log_every=3",
    ]
    other.cfg.steps = 5
    with pytest.raises(ConfigError, match="was given another budget by hand: remove it"):
        child.arguments(other)


def test_the_identity_of_a_config_ignores_settings_that_change_no_result() -> None:
    plain = identity.config(compose("data=mnist"))
    for overrides in (
        ["seed=5", "run_dir=x", "logger=csv", "data.root=elsewhere", "profile=true", "trainer=ddp"],
        ["metric.weights=a_file", "images=192000", "sample_every=7", "default_steps=3"],
    ):
        assert identity.config(compose("data=mnist", *overrides)) == plain, overrides
    for other in (
        "steps=2999",
        "trick=ema",
        "trainer.precision=64-true",
        "evaluation.seed=1",
        "data.flip=true",
    ):
        assert identity.config(compose("data=mnist", other)) != plain, other


def test_a_class_is_identified_by_its_name_and_a_function_by_its_module_and_name() -> None:
    """A class may move to another module without making recorded rows outdated."""
    cfg = compose("model=dcgan", "trick=r1", "+trick.mine._target_=my.tricks.R1")
    found = identity.named(OmegaConf.to_container(cfg, resolve=True))
    assert found["objective"]["_target_"] == "NonSaturating"
    assert found["trick"]["r1"]["_target_"] == "R1"
    assert found["trick"]["mine"]["_target_"] == "my.tricks.R1"
    assert found["model"]["generator"]["_target_"] == "dcgan.generator"
    assert found["model"]["generator"]["prior"]["_target_"] == "Uniform"
    shipped = [target.split(".") for target in allowed_targets() if target.startswith("ganlab.")]
    functions = [tuple(parts[-2:]) for parts in shipped if parts[-1][0].islower()]
    assert len(set(functions)) == len(functions)


def test_the_code_hash_depends_on_every_python_file(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a.py").write_text("1")
    first = identity.code(tmp_path)
    (tmp_path / "notes.txt").write_text("1")
    assert identity.code(tmp_path) == first
    (inner / "b.py").write_text("")
    second = identity.code(tmp_path)
    (inner / "b.py").rename(inner / "c.py")
    assert len({first, second, identity.code(tmp_path)}) == 3
    assert len(identity.code()) == 12


def test_the_fingerprint_depends_on_the_data_and_not_on_their_path(tmp_path: Path) -> None:
    def found(*overrides: str) -> str:
        return build_data(compose(*overrides)).fingerprint()

    assert found() == found("data.batch_size=10") != found("data.validation=10")
    assert found("data=ring") != found("data=ring", "data.data_seed=1")
    data = build_data(compose())
    before = data.fingerprint()
    data.sources["train"].labels[5] += 1
    assert data.fingerprint() != before
    stacks = [Stacks(torch.zeros(5, 1, 2, 2), torch.arange(5), 4, seed, "train") for seed in (0, 0, 1)]
    parts = [[p for p in source.fingerprint_parts() if isinstance(p, torch.Tensor)] for source in stacks]
    assert bitwise_equal(parts[0], parts[1])
    assert not bitwise_equal(parts[0], parts[2])
    for place in ("here", "there"):
        (tmp_path / place / "ones").mkdir(parents=True)
        for i in range(3):
            Image.new("L", (8, 8), i).save(tmp_path / place / "ones" / f"{i}.png")
    album = ("data=folder", "data.channels=1", "data.height=8", "data.width=8", "data.batch_size=2")
    here, there = (f"data.root={tmp_path / place}" for place in ("here", "there"))
    first = found(*album, here, "data.in_memory=true")
    assert first == found(*album, there, "data.in_memory=false")
    (tmp_path / "there" / "ones" / "2.png").rename(tmp_path / "there" / "ones" / "3.png")
    assert first != found(*album, there)
    Image.new("L", (80, 8), 2).save(tmp_path / "here" / "ones" / "2.png")
    assert first != found(*album, here)


def test_cores_are_divided_among_processes_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    assert shared_out(None, None) == (16, 1)  # OMP_NUM_THREADS is 1 in tests
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert shared_out(None, None) == (4, 4)
    assert shared_out(8, None) == (8, 2)
    assert shared_out(None, 16) == (1, 16)
    assert shared_out(3, 7) == (3, 7)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    assert shared_out(None, None) == (1, 4)


def test_durations_are_printed_in_two_units() -> None:
    assert [duration(s) for s in (0.4, 59, 61, 3599.6, 3720)] == [
        "0.4 s",
        "59 s",
        "1 min 01 s",
        "1 h 00 min",
        "1 h 02 min",
    ]


def test_jobs_of_a_multirun_run_with_submitit(tmp_path: Path) -> None:
    """On a cluster, each job is a worker on the same suite."""
    folder = write_suite(tmp_path / "quick", QUICK.replace("seeds: 2", "seeds: 1"))
    done = run_with_submitit(tmp_path, folder, f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    found = sorted((row.arm, row.seed, row.status) for row in read_rows(folder))
    assert found == [("ema", 0, "finished"), ("plain", 0, "finished")]


def test_refusals_of_cluster_jobs_are_reported_by_the_command(tmp_path: Path) -> None:
    done = run_with_submitit(tmp_path, tmp_path)  # refused before torch is imported
    assert done.returncode == 2
    assert f"ablate: suite={tmp_path} has no suite.yaml" in done.stderr
    logs = [*tmp_path.glob(".submitit/*/*_log.err")]
    assert [f"ablate: suite={tmp_path} has no suite.yaml" in log.read_text() for log in logs] == [True, True]


def run_with_submitit(sweep_dir: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    overrides = (
        f"suite={folder}",
        "worker=1,2",
        "hydra/launcher=submitit_local",
        f"hydra.sweep.dir={sweep_dir}",
        *overrides,
    )
    command = [sys.executable, "-m", "ganlab.ablate", "-m", *overrides]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
