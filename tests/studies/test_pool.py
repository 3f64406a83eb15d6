"""Runs that are played, killed, refused and shared: each ends as one row, and nothing is played twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from omegaconf import OmegaConf
from support.commands import environment, finish, summary
from support.daily_sample import DAY, daily_cases, daily_choice, on_one_day_of
from support.refusals import refuses
from support.studies import (
    CHOSEN,
    NAME,
    SEARCH,
    SUITE,
    jobs_of,
    row_of,
    rows_of,
    search_plan,
    start_ablate,
    suite_plan,
    trial_row,
    wait_until,
    write_search,
    write_suite,
)

from ganlab.ablate import ablate, shared_out
from ganlab.config import identity
from ganlab.config.compose import compose
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import UNSET, UnfinishedRuns
from ganlab.filesystem import Lock
from ganlab.studies.backend import Local
from ganlab.studies.formatting import duration
from ganlab.studies.plan import Job
from ganlab.studies.pool import Pool
from ganlab.studies.table import merge, text_of

NO_PLACE: Any = SimpleNamespace(processes=1, start=lambda job, lock: lock)  # where nothing is played
SAYS = "import os; print('out of reach', flush=True);"
LONG = SUITE.replace("steps=4", "steps=60, checkpoint_every=5")


class Script:
    """A backend whose runs are short scripts."""

    processes = threads = 1

    def __init__(self, script: str):
        self.script = script

    def start(self, job: Job, lock: Lock) -> Any:
        lock.release()
        with job.log.open("w") as file:
            process = subprocess.Popen([sys.executable, "-c", self.script], stdout=file, stderr=file)
        return process.wait()

    def status(self, process: int) -> int:
        return process


def plan_of(folder: Path, text: str = SUITE, **options: Any):
    return suite_plan(write_suite(folder / "quick", text), **options)


def pids_of_runs(process: Any) -> list[int]:
    """The processes of the runs: children of the server of forks, which is a child of the command."""

    def children(pid: int) -> list[int]:
        try:
            return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    return [run for child in children(process.pid) for run in children(child)]


def numbers(folder: Path) -> dict[tuple[str, int], tuple[str, float | None]]:
    rows = rows_of(folder)
    assert len({(row.arm, row.seed) for row in rows}) == len(rows)
    return {(row.arm, row.seed): (row.status, row.value) for row in rows}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a suite and a search, both finished, that nobody has disturbed."""
    folder = tmp_path_factory.mktemp("studies")
    plan = suite_plan(write_suite(folder / "suite", LONG))
    Pool(plan, Local(1, 1)).play()
    search = search_plan(write_search(folder / "search"))
    Pool(search, Local(1, 1)).play()
    return folder


def test_a_suite_is_played_and_recorded(undisturbed: Path) -> None:
    folder = undisturbed / "suite"
    rows = rows_of(folder)
    assert [(row.arm, row.seed) for row in rows] == [("plain", 0), ("ema", 0), ("plain", 1), ("ema", 1)]
    plan = suite_plan(folder)
    for row, job in zip(rows, jobs_of(plan), strict=True):
        found = summary(job.directory)
        assert (row.status, row.steps, row.images, row.device) == ("finished", 60, 3840, "cpu, 1 thread")
        assert (row.metrics, row.value) == (found["metrics"], found["metrics"][NAME]["value"])
        # The run itself notes what makes its numbers, as the study knows it.
        assert (found["config_sha256"], found["numerics"]) == (job.config, row.numerics)
        assert (found["code_sha256"], found["data_sha256"][:12]) == (row.code, job.data)
    for arm in ("plain", "ema"):  # of the first seed
        picture = next(plan.folder.glob(f"{arm}_seed0_*/samples/0000060.png"))
        assert (folder / "samples" / f"{arm}.png").read_bytes() == picture.read_bytes()


def test_a_search_is_played_and_recorded(undisturbed: Path) -> None:
    rows = rows_of(undisturbed / "search")
    assert [row.arm for row in rows] == ["trial0", "trial1", "trial2"]
    for row in rows:
        (directory,) = (undisturbed / "search").glob(f"runs/search/{row.arm}_*/")
        found = summary(directory)
        assert (row.status, row.steps, row.seed, [*row.course]) == ("finished", 30, 3, ["10", "20", "30"])
        assert row.value == found["metrics"][NAME]["value"] == row.course["30"]
        played = OmegaConf.load(directory / "config.yaml")
        numeric = {name: value for name, value in row.parameters.items() if "." in name}
        assert {name: OmegaConf.select(played, name) for name in numeric} == numeric
        assert (found["parameters"], found["data_sha256"][:12]) == (row.parameters, row.data)


KILLED = [(kind, moment) for kind in ("suite", "search") for moment in range(10)]


@on_one_day_of(2)
@pytest.mark.parametrize(("kind", "moment"), daily_cases([daily_choice(KILLED)], KILLED))
def test_a_killed_study_ends_with_the_rows_of_an_undisturbed_one(
    kind: str, moment: int, undisturbed: Path, tmp_path: Path
) -> None:
    """At a random moment the pool, a run, or both are killed; then the same command goes on."""
    draw = random.Random(f"{DAY} {kind} {moment}")
    write, text = (write_suite, LONG) if kind == "suite" else (write_search, SEARCH)
    folder = write(tmp_path / kind, text)
    command = (f"{'suite' if kind == 'suite' else 'sweep'}={folder}", f"output={folder / 'runs'}")
    victims = draw.choice([["pool"], ["run"], ["pool", "run"]])
    process = start_ablate(*command)
    wait_until(lambda: pids_of_runs(process), process)
    time.sleep(draw.uniform(0, 6))
    runs = pids_of_runs(process)
    if "pool" in victims:
        process.kill()
    for pid in runs if "run" in victims else []:
        os.kill(pid, signal.SIGKILL)
    finish(process)
    for _ in range(20):  # a run whose pool was killed goes on, and is collected when it has ended
        done = finish(start_ablate(*command))
        if numbers(folder) == numbers(undisturbed / kind):
            break
        assert done[0] in (0, 1), done
        time.sleep(1)
    assert numbers(folder) == numbers(undisturbed / kind)


@on_one_day_of(3)
def test_a_signal_stops_a_suite_and_the_same_command_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "suite", LONG.replace("seeds: 2", "seeds: 1"))
    command = (f"suite={folder}", f"output={folder / 'runs'}")
    process = start_ablate(*command)
    wait_until(lambda: [*folder.glob("runs/*/ema_seed0_*/checkpoints/last.ckpt")], process)
    process.terminate()
    status, out, err = finish(process)
    assert (status, "runs are left; the same command goes on" in out) == (130, True), out + err
    before = rows_of(folder)
    status, out, err = finish(start_ablate(*command))
    assert status == 0, out + err
    assert f"2 runs, {2 - len(before)} to play, 1 at a time with 1 threads each" in out
    assert "next: python -m ganlab.report suite=" in out
    assert numbers(folder).items() <= numbers(undisturbed / "suite").items()
    assert len(numbers(folder)) == 2
    resumed = [path for path in folder.glob("runs/suite/*/") if "resume=" in summary(path)["command"]]
    assert len(resumed) == 1
    assert rows_of(folder)[: len(before)] == before


@on_one_day_of(3)
def test_two_workers_share_the_runs(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "quick", SUITE.replace("seeds: 2", "seeds: 1"))
    workers = [
        start_ablate(f"suite={folder}", f"output={folder}/runs", f"worker={n}") for n in ("one", "two")
    ]
    outs = []
    for worker in workers:
        status, out, err = finish(worker)
        assert status == 0, out + err
        outs.append(out)
    assert "worker one: 2 runs" in outs[0]
    assert all(status == "finished" for status, _ in numbers(folder).values())
    assert len(numbers(folder)) == 2
    assert sum(out.count(f"finished  {NAME}") for out in outs) == 2


@on_one_day_of(2)
def test_runs_that_fail_or_diverge_are_recorded_and_the_suite_continues(tmp_path: Path) -> None:
    arms = "{overrides: ['optimizer.generator.lr=1e30']}\n  breaks: {overrides: [trick=mine]}\n  ema:"
    own = tmp_path / "settings" / "trick" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("mine:\n  _target_: support.breaking_trick.Breaking\n")
    folder = write_suite(tmp_path / "bad", SUITE.replace("{}\n  ema:", arms).replace("seeds: 2", "seeds: 1"))
    command = (f"suite={folder}", f"output={folder}/runs", f"--config-dir={own.parents[1]}")
    status, out, err = finish(start_ablate(*command))
    assert status == 1, out + err
    assert "ablate: of 3 runs 1 failed, 1 diverged: the same command goes on" in err
    diverged, failed, finished = rows_of(folder)
    assert (diverged.arm, diverged.status, diverged.value) == ("plain", "diverged", None)
    assert "diverged at step" in diverged.reason
    assert (failed.arm, failed.status, failed.reason, failed.steps) == ("breaks", "failed", "it broke", 2)
    assert (finished.arm, finished.status) == ("ema", "finished")
    # Neither is run again unless `rerun` is set.
    text = (folder / "suite.yaml").read_text()
    text = text.replace("trick=mine", "+trick.mine._target_=support.breaking_trick.Breaking")
    (folder / "suite.yaml").write_text(text)
    assert suite_plan(folder).open() == []
    assert len(suite_plan(folder, rerun="failed").open()) == 2


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        (f"{SAYS} os.kill(os.getpid(), 11)", "failed", "killed by SIGSEGV: out of reach"),
        (f"{SAYS} os.abort()", "failed", "killed by SIGABRT: out of reach"),
        ("import os; os.kill(os.getpid(), 9)", "interrupted", "killed by SIGKILL"),
        ("print('run: no luck'); raise SystemExit(2)", "failed", "no luck"),
        ("raise SystemExit(3)", "failed", "it ended without a word"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_speak_for_itself_has_a_row_with_its_reason(
    script: str, status: str, reason: str, tmp_path: Path
) -> None:
    plan = plan_of(
        tmp_path, SUITE.replace("seeds: 2", "seeds: 1").replace("  ema: {overrides: [trick=ema]}\n", "")
    )
    pool = Pool(plan, Script(script))
    pool.play()
    (row,) = rows_of(plan.study.folder)
    assert (row.status, row.reason, row.steps, row.value) == (status, reason, 0, None)
    assert len(plan.open()) == (1 if status == "interrupted" else 0)
    again = Pool(plan, Local(1, 1))  # what was interrupted can be played, although a summary lies there
    again.play()
    (row,) = rows_of(plan.study.folder)
    assert row.status == ("finished" if status == "interrupted" else status)


def test_a_run_that_another_process_plays_is_left_to_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    locks = []
    for job in jobs_of(plan)[:3]:
        job.directory.mkdir(parents=True)
        locks.append(Lock(job.directory / "lock"))
    pool = Pool(plan, Script("print('run: x is in use by process 3'); raise SystemExit(2)"))
    pool.begin()
    assert [run.job for run in pool.playing] == [jobs_of(plan)[3]]
    pool.settle(pool.playing.pop(), 2)
    assert (rows_of(plan.study.folder), len(plan.open()), pool.tried) == ([], 4, set())


def test_a_run_whose_directory_was_removed_has_a_row_too(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, SUITE.replace("seeds: 2", "seeds: 1"))
    script = f"import shutil; [shutil.rmtree(path) for path in __import__('glob').glob('{plan.folder}/*/')]"
    Pool(plan, Script(f"{script}; raise SystemExit('all is gone')")).play()
    assert [(row.status, row.reason) for row in rows_of(plan.study.folder)] == [("failed", "all is gone")] * 2


def test_an_idle_process_takes_over_what_another_one_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its own run goes on, the lock of the other process falls."""
    plan = plan_of(tmp_path, SUITE.replace("seeds: 2", "seeds: 1"))
    other = jobs_of(plan)[1].directory
    other.mkdir(parents=True)
    lock, started = Lock(other / "lock"), []

    def status(job: Job) -> int | None:
        lock.release()
        return 1 if len(started) == 2 else None

    def start(job: Job, lock: Lock) -> Job:
        started.append(job.arm)
        return job

    monkeypatch.setattr("ganlab.studies.pool.IDLE", 0)
    place: Any = SimpleNamespace(processes=2, start=start, status=status)
    Pool(plan, place).play()
    assert started == ["plain", "ema"]


def test_a_finished_run_is_recorded_without_another_run(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    job = jobs_of(plan)[0]
    run = RunDirectory(job.directory)
    run.make_folders()
    run.write_config(job.cfg)
    record = {NAME: {"value": 2.5}, "is/digits_60": {"value": 8.0}}
    facts = {
        "steps": 4,
        "images": 256,
        "seconds": 1.5,
        "commit": "a" * 40 + "+",
        "device": "cpu",
        "threads": 2,
    }
    run.write_summary(status="finished", metrics=record, **facts)
    pool = Pool(plan, NO_PLACE)
    pool.begin()
    assert [run.job.arm for run in pool.playing] == ["ema"]
    (found,) = rows_of(plan.study.folder)
    assert (found.status, found.value, found.seconds, found.commit) == ("finished", 2.5, 1.5, "a" * 12 + "+")
    assert (found.metrics, found.device) == ({NAME: {"value": 2.5}}, "cpu, 2 threads")


def test_a_run_that_diverged_after_its_pool_was_killed_is_not_played_again(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    run = RunDirectory(jobs_of(plan)[0].directory)
    run.make_folders()
    run.write_config(jobs_of(plan)[0].cfg)
    run.write_summary(status="diverged", reason="diverged at step 3: nan")
    pool = Pool(plan, NO_PLACE)
    pool.begin()
    assert [run.job.arm for run in pool.playing] == ["ema"]
    (found,) = rows_of(plan.study.folder)
    assert (found.status, found.reason) == ("diverged", "diverged at step 3: nan")
    again = Pool(plan_of(tmp_path, rerun="failed"), Script("raise SystemExit('it was started')"))
    again.begin()
    assert [playing.job.arm for playing in again.playing] == ["plain"]


def test_trials_that_diverge_leave_a_search_finished(tmp_path: Path) -> None:
    plan = search_plan(write_search(tmp_path / "quick"))
    rows = [trial_row(0, 2.5, space=plan.space)]
    rows += [trial_row(n, None, status="diverged", space=plan.space) for n in (1, 2)]
    results, lock = plan.study.results, FileLock(tmp_path / "lock")
    cfg = compose(f"sweep={plan.study.folder}", f"output={tmp_path}/runs", config_name="ablate")
    merge(results, rows, lock)
    ablate(cfg)
    results.unlink()
    merge(results, [trial_row(n, None, status="diverged", space=plan.space) for n in range(3)], lock)
    with pytest.raises(UnfinishedRuns, match="no run has finished: .*results.csv says why"):
        ablate(cfg)


def test_a_change_of_the_code_starts_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path)
    pool = Pool(plan, Local(1, 1))
    monkeypatch.setattr(identity, "code", lambda: "f" * 12)
    pool.play()
    assert "has changed since this began: call again" in str(pool.stopped)
    assert (len(plan.open()), rows_of(plan.study.folder)) == (4, [])


def test_the_sample_grid_is_of_the_first_seed_that_has_finished(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    plain = [job for job in jobs_of(plan) if job.arm == "plain"]
    for job in plain:
        RunDirectory(job.directory).make_folders()
        (job.directory / "samples" / "4.png").write_text(f"of seed {job.seed}")
    pool, shown = Pool(plan, Script("")), plan.study.folder / "samples" / "plain.png"
    pool.record(plain[0], row_of(plain[0], status="diverged"))
    assert not shown.exists()
    for seed, expected in ((1, 1), (0, 0), (1, 0)):
        pool.record(plain[seed], row_of(plain[seed]))
        assert shown.read_text() == f"of seed {expected}"


def test_stale_rows_are_reported_even_if_nothing_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path)
    rows = [row_of(job, numerics=0) for job in jobs_of(plan)]
    plan.study.results.write_text(text_of(rows))
    ablate(compose(f"suite={plan.study.folder}", f"output={tmp_path}/runs", config_name="ablate"))
    out = capsys.readouterr().out
    assert "4 runs, 0 to play" in out
    assert "4 runs are stale, their numbers have changed since: rerun=stale plays them again" in out


def test_a_run_that_another_process_goes_on_with_fails_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, SUITE.replace("seeds: 2", "seeds: 1"))
    done, other = jobs_of(plan)
    plan.study.results.write_text(text_of([row_of(done), row_of(other, status="interrupted", reason="x")]))
    other.directory.mkdir(parents=True)
    lock = Lock(other.directory / "lock")
    ablate(compose(f"suite={plan.study.folder}", f"output={plan.folder.parent}", config_name="ablate"))
    lock.release()
    assert "1 runs are with other processes" in capsys.readouterr().out


def test_a_dry_run_prints_the_status_of_each_run_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path)
    jobs = jobs_of(plan)
    rows = [row_of(jobs[0]), row_of(jobs[1], numerics=0), row_of(jobs[3], status="diverged", reason="so")]
    plan.study.results.write_text(text_of(rows))
    before = sorted(tmp_path.rglob("*"))
    ablate(
        compose(f"suite={plan.study.folder}", f"output={tmp_path}/runs", "dry_run=true", config_name="ablate")
    )
    assert sorted(tmp_path.rglob("*")) == before
    out = capsys.readouterr().out
    for line in ("plain  seed 0  finished\n", "ema    seed 0  finished, stale\n", "plain  seed 1  to run\n"):
        assert line in out
    assert "ema    seed 1  diverged, so\n" in out


def test_a_dry_run_starts_within_three_seconds_of_a_processor(tmp_path: Path) -> None:
    """It composes every arm, and does not import torch."""
    folder = write_suite(tmp_path / "quick")
    code = (
        "import resource, sys; from ganlab.cli import launch; from ganlab.ablate import ablate; "
        "launch('ablate', ablate); assert 'torch' not in sys.modules; "
        "usage = resource.getrusage(resource.RUSAGE_SELF); print('CPU', usage.ru_utime + usage.ru_stime)"
    )
    command = [sys.executable, "-c", code, f"suite={folder}", "dry_run=true", f"output={tmp_path}/runs"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("CPU ")[1]) < 3


def test_an_estimate_plays_a_few_steps_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_suite(tmp_path / "quick")
    overrides = ["estimate=true", "threads=1", "processes=1", f"output={tmp_path}/runs"]
    ablate(compose(f"suite={folder}", *overrides, config_name="ablate"))
    out = capsys.readouterr().out
    assert "  plain: 2 runs, 4 steps of " in out
    assert "in all " in out
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["suite.yaml"]


def test_a_hopeless_run_is_pruned_and_recorded(tmp_path: Path) -> None:
    """The earlier trials, recorded by another machine, were much better."""
    text = SEARCH.replace("steps=30", "steps=4000").replace("trials: 3", "trials: 6")
    plan = search_plan(write_search(tmp_path / "quick", text))
    course = {str(step): 0.1 for step in range(10, 4000, 10)}
    rows = [trial_row(trial, 0.1, course=course, space=plan.space) for trial in range(5)]
    plan.study.results.write_text(text_of(rows))
    pool = Pool(plan, Local(1, 1))
    pool.play()
    *_, found = rows_of(plan.study.folder)
    assert (found.arm, found.status, found.value) == ("trial5", "pruned", None)
    assert 10 <= found.steps < 4000
    assert "is worse than the median" in found.reason


def test_workers_share_the_trials_and_take_over_abandoned_ones(tmp_path: Path) -> None:
    plan = search_plan(write_search(tmp_path / "quick"))

    pools = [Pool(plan, NO_PLACE) for _ in range(4)]
    for pool in pools:
        pool.begin()
    assert [[run.job.arm for run in pool.playing] for pool in pools] == [
        ["trial0"],
        ["trial1"],
        ["trial2"],
        [],
    ]
    first, abandoned = pools[0].playing[0], pools[1].playing.pop()
    abandoned.lock.release()  # as the system does when the run and its worker are killed
    pools[1].begin()
    assert not pools[1].playing  # a worker does not restart its own interrupted trial
    pools[3].begin()
    assert pools[3].playing[0].job.overrides == abandoned.job.overrides
    assert set(first.job.parameters) == set(CHOSEN)


@pytest.mark.parametrize(
    ("overrides", "key", "value", "reason"),
    [
        (["suite=SUITE", "rerun=all"], "rerun", "all", "must be one of stale, failed or null"),
        (["suite=SUITE", "dry_run=maybe"], "dry_run", "maybe", "must be true or false"),
        (["suite=SUITE", "processes=0"], "processes", 0, "must be a whole number of at least 1"),
        (["suite=SUITE", "extra=logger"], "extra", "logger", "must be a list"),
        (["suite=SUITE", "only=[none]"], "only", "none", "is no arm of quick"),
        (["suite=SUITE", "root=here"], "root", "here", "has no effect: no run of this study reads files"),
        (["suite=nowhere"], "", UNSET, "suite=nowhere has no suite.yaml that can be read"),
        (["suite=SUITE", "wandb=true"], "wandb", True, "has no effect with this kind of study"),
        (["suite=SUITE", "address=auto"], "address", "auto", "has no effect without backend=ray"),
        (["suite=SUITE", "num_gpus=0.5"], "num_gpus", 0.5, "has no effect without backend=ray"),
        (["suite=SUITE", "backend=slurm"], "backend", "slurm", "must be one of local, ray"),
        (["suite=SUITE", "dry_run=true", "estimate=true"], "", UNSET, "dry_run and estimate exclude"),
        (["sweep=SEARCH", "only=[r1]"], "only", ["r1"], "has no effect with this kind of study"),
        (["sweep=SEARCH", "rerun=failed"], "rerun", "failed", "has no effect with this kind of study"),
        (["sweep=SEARCH", 'extra=["steps=5"]'], "", UNSET, "extra=.*steps=5.* changes what the runs are"),
    ],
)  # fmt: skip
def test_unusable_settings_are_refused(
    overrides: list[str], key: str, value: object, reason: str, tmp_path: Path
) -> None:
    places = {"SUITE": str(write_suite(tmp_path / "quick")), "SEARCH": str(write_search(tmp_path / "search"))}
    given = [
        override.replace(name, place)
        for override in overrides[:1]
        for name, place in places.items()
        if name in override
    ] or overrides[:1]
    with refuses(key, value, reason):
        ablate(compose(*given, *overrides[1:], config_name="ablate"))


def test_cores_are_divided_among_processes_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 16)
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
    times = [duration(s) for s in (0.4, 59, 61, 3599.6, 3720)]
    assert times == ["0.4 s", "59 s", "1 min 01 s", "1 h 00 min", "1 h 02 min"]


@on_one_day_of(2)
def test_jobs_of_a_multirun_run_with_submitit(tmp_path: Path) -> None:
    """On a cluster, each job is a worker on the same suite."""
    folder = write_suite(tmp_path / "quick", SUITE.replace("seeds: 2", "seeds: 1"))
    done = run_with_submitit(tmp_path, folder, f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert sorted(numbers(folder)) == [("ema", 0), ("plain", 0)]
    assert {row.status for row in rows_of(folder)} == {"finished"}


def test_refusals_of_cluster_jobs_are_reported_by_the_command(tmp_path: Path) -> None:
    done = run_with_submitit(tmp_path, tmp_path)  # refused before torch is imported
    assert done.returncode == 2
    assert f"ablate: suite={tmp_path} has no suite.yaml" in done.stderr
    logs = [*tmp_path.glob(".submitit/*/*_log.err")]
    assert [f"ablate: suite={tmp_path} has no suite.yaml" in log.read_text() for log in logs] == [True, True]


def run_with_submitit(sweep_dir: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    launcher = ("worker=1,2", "hydra/launcher=submitit_local", f"hydra.sweep.dir={sweep_dir}")
    command = [sys.executable, "-m", "ganlab.ablate", "-m", f"suite={folder}", *launcher, *overrides]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
