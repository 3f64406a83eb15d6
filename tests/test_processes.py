"""Runs on several processes: two of them train exactly the game of one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from support.commands import (
    QUICK,
    bitwise_equal,
    checkpoint,
    finish,
    play,
    rows,
    start,
    start_two_ranks,
    summary,
)
from support.daily_sample import on_one_day_of
from support.refusals import refuses
from support.two_processes import build_in_float64, final_state, play_every_case, two_process_cases

from ganlab.config.compose import compose
from ganlab.training.play_run import play_run, start_run
from ganlab.training.processes import cluster_environment, ranks_to_start

PLAIN = [o for o in QUICK if "batch_norm" not in o] + [
    "model.generator.batch_norm=false",
    "trainer.precision=64-true",
    "log_every=1",
    "checkpoint_every=4",
]


@on_one_day_of(3)
@pytest.mark.timeout(1200)  # minutes when two other test processes are busy, because there are three here
def test_two_processes_equal_one_for_every_plug_in(tmp_path: Path) -> None:
    port = find_free_network_port()
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        for case in two_process_cases():
            build_in_float64(*case)  # once here, instead of in each of the forked processes
        fork = multiprocessing.get_context("fork").Process
        ranks = [fork(target=play_every_case, args=(rank, port, tmp_path)) for rank in (0, 1)]
        for rank in ranks:
            rank.start()
        alone = [final_state(case, 0, 1) for case in two_process_cases()]
    finally:
        torch.set_default_dtype(default)
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0]
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for case, expected, mine, theirs in zip(two_process_cases(), alone, one, other, strict=True):
        if expected is None:
            assert mine is theirs is None
            continue
        assert bitwise_equal(mine, theirs), f"the ranks of {case} differ"
        for name, value in expected.items():
            assert torch.allclose(value, mine[name], rtol=0, atol=1e-10), f"{case}: {name}"


@on_one_day_of(2)
def test_a_run_on_two_processes_equals_one_and_resumes_with_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    plain = [*PLAIN, "metric=[fid,is,kid,prdc,neighbours]", "evaluate_every=4"]
    plain += ["metric.kid.subset_size=50", "metric.kid.subsets=5"]
    alone = start(*plain, "steps=12", f"run_dir={one}")
    pair = start(*plain, "steps=8", "trainer=ddp", f"run_dir={two}")
    code, out, err = finish(pair)
    assert code == 0, err
    assert out.count("\nfinished\n") == 1
    assert finish(start_two_ranks(f"resume={two}", "steps=10", "trainer.devices=2"))[0] == 0
    code, _, err = finish(start(f"resume={two}", "steps=12", "trainer.devices=1"))
    assert code == 0, err
    assert finish(alone)[0] == 0
    mine, theirs = checkpoint(one)["state_dict"], checkpoint(two)["state_dict"]
    assert all(
        torch.allclose(value, theirs[name], rtol=0, atol=1e-10)
        for name, value in mine.items()
        if isinstance(value, torch.Tensor)
    )
    for row, other in zip(rows(one)[:8], rows(two)[:8], strict=True):
        assert float(row["generator/adversarial"]) == pytest.approx(float(other["generator/adversarial"]))
    measured = [name for name in rows(one)[7] if "/digits" in name]
    assert len(measured) == 9
    for name in measured:  # the same samples, but for the last bits of float64
        assert float(rows(one)[7][name]) == pytest.approx(float(rows(two)[7][name]), rel=1e-6), name


@on_one_day_of(3)
def test_compiled_networks_on_two_processes_equal_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    pair = start_two_ranks(*PLAIN, "steps=3", "trainer=ddp", "compile=true", f"run_dir={two}")
    play(one, *PLAIN, "steps=3")
    code, _, err = finish(pair)
    assert code == 0, err
    for row, other in zip(rows(one), rows(two), strict=True):
        assert float(row["generator/adversarial"]) == pytest.approx(float(other["generator/adversarial"]))


@on_one_day_of(2)
def test_a_killed_process_ends_the_other_with_one_line(tmp_path: Path) -> None:
    process = start(*PLAIN, "steps=1000000", "trainer=ddp", f"run_dir={tmp_path / 'run'}")
    while process.poll() is None and not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "play_in_started_process"], capture_output=True, text=True
    )
    (child,) = map(int, found.stdout.split())
    os.kill(child, signal.SIGKILL)
    began = time.monotonic()
    code, _, err = finish(process)
    assert code == 1
    assert time.monotonic() - began < 60
    (line,) = [line for line in err.splitlines() if line.startswith("run:")]
    assert "process 1 of 2 ended with -9" in line
    assert "Traceback" not in err
    assert "process 1 of 2" in summary(tmp_path / "run")["reason"]


@on_one_day_of(3)
def test_a_process_killed_under_torchrun_is_reported_in_one_line(tmp_path: Path) -> None:
    overrides = [*PLAIN, "steps=1000000", "trainer=ddp", f"run_dir={tmp_path / 'run'}"]
    launcher = [
        "torch.distributed.run",
        "--nproc-per-node=2",
        f"--master-port={find_free_network_port()}",
        "-m",
    ]
    process = start(*overrides, module=[*launcher, "ganlab.run"])
    while process.poll() is None and not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    ranks = {
        b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes(): pid for pid in found.stdout.split()
    }
    os.kill(int(ranks[True]), signal.SIGKILL)
    began = time.monotonic()
    code, _, err = finish(process)
    assert code == 1
    assert time.monotonic() - began < 60
    (line,) = [line for line in err.splitlines() if line.startswith("run:")]
    assert "resume" in line
    assert summary(tmp_path / "run")["status"] == "failed"


def test_a_divergence_on_all_processes_is_reported(tmp_path: Path) -> None:
    lr = [f"optimizer.{player}.lr=1e38" for player in ("discriminator", "generator")]
    process = start_two_ranks(
        *QUICK, "steps=40", "log_every=1", "trainer=ddp", *lr, f"run_dir={tmp_path / 'run'}"
    )
    code, _, err = finish(process)
    assert code == 1
    assert "run: diverged at step" in err
    assert summary(tmp_path / "run")["status"] == "diverged"


def test_a_process_whose_parent_died_ends_silently(tmp_path: Path) -> None:
    process = start_two_ranks(*PLAIN, "steps=1000000", "trainer=ddp", f"run_dir={tmp_path / 'run'}")
    while process.poll() is None and not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
    process.kill()
    began = time.monotonic()
    _, _, err = finish(process)  # the pipe closes when the last process is gone
    assert time.monotonic() - began < 60
    assert "Traceback" not in err


def test_each_job_of_a_sweep_starts_its_own_processes(tmp_path: Path) -> None:
    code, _, err = finish(
        start_two_ranks("-m", "seed=0,1", *PLAIN, "steps=3", "trainer=ddp", f"run_dir={tmp_path / 'sweep'}")
    )
    assert code == 0, err
    played = sorted((tmp_path / "sweep").iterdir())
    assert [(run.name, summary(run)["status"]) for run in played] == [
        ("0_seed-0", "finished"),
        ("1_seed-1", "finished"),
    ]


def test_ctrl_c_ends_both_processes_after_the_step(tmp_path: Path) -> None:
    process = start_two_ranks(*PLAIN, "steps=1000000", "trainer=ddp", f"run_dir={tmp_path / 'run'}")
    while process.poll() is None and not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    for pid in (process.pid, *map(int, found.stdout.split())):  # a terminal tells all of them
        os.kill(pid, signal.SIGINT)
    code, _, err = finish(process)
    assert code == 0, err
    assert summary(tmp_path / "run")["status"] == "stopped"
    assert summary(tmp_path / "run")["reason"] == "SIGINT"


def test_the_job_after_a_refused_one_starts_its_own_processes(tmp_path: Path) -> None:
    (tmp_path / "sweep" / "0_seed-0").mkdir(parents=True)
    (tmp_path / "sweep" / "0_seed-0" / "theirs").touch()
    code, out, err = finish(
        start_two_ranks("-m", "seed=0,1", *PLAIN, "steps=3", "trainer=ddp", f"run_dir={tmp_path / 'sweep'}")
    )
    assert code == 2
    assert "already" in err or "not empty" in err, err
    assert out.count("\nfinished\n") == 1


def test_several_machines_without_a_launcher_are_refused(tmp_path: Path) -> None:
    code, _, err = finish(start(*PLAIN, "trainer=ddp", "trainer.num_nodes=2", f"run_dir={tmp_path / 'run'}"))
    assert code == 2
    assert "trainer.num_nodes=2: waits for processes on other machines" in err
    assert not (tmp_path / "run").exists()


STARTED = {  # the variables that torchrun and SLURM set
    "torchrun": {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_RANK": "0"},
    "srun": {
        "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_JOB_NAME": "train",
        "SLURM_PROCID": "0",
    },
}


@pytest.mark.parametrize("launcher", STARTED)
def test_the_number_of_started_processes_must_match(launcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in STARTED[launcher].items():
        monkeypatch.setenv(name, value)
    assert not ranks_to_start(devices=4, num_nodes=1)
    assert not ranks_to_start(devices=2, num_nodes=2)
    for devices in (1, 2):
        reason = f"requests {devices} processes in all, but torchrun or SLURM has started 4"
        with refuses("trainer.devices", devices, reason):
            ranks_to_start(devices, num_nodes=1)


def test_an_interactive_slurm_shell_launches_its_own_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "bash", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert ranks_to_start(devices=2, num_nodes=1)
    assert not ranks_to_start(devices=1, num_nodes=1)


def test_slurm_jobs_are_not_requeued(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_environment() is None
    for name, value in STARTED["srun"].items():
        monkeypatch.setenv(name, value)
    slurm = cluster_environment()
    assert isinstance(slurm, SLURMEnvironment)
    assert not slurm.auto_requeue


def test_torchrun_takes_precedence_over_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"RANK": "1", "GROUP_RANK": "0", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "SLURM_NTASKS": "1"}
    for name, value in (STARTED["srun"] | STARTED["torchrun"] | ours).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # a Trainer sets it, for all that come after
    trainer = Trainer(accelerator="cpu", devices=2, plugins=[cluster_environment()], logger=False)
    assert (trainer.global_rank, trainer.world_size) == (1, 2)


def test_lightnings_collective_about_signals_is_removed(tmp_path: Path) -> None:
    """It would wait for the device in each step. `Stop` replaces a private method, which must still exist."""
    assert callable(_TrainingEpochLoop._broadcast_sigterm_tensor)
    cfg = compose(*QUICK, "steps=1", f"run_dir={tmp_path / 'run'}")
    run = start_run(cfg)
    play_run(run)
    assert "_broadcast_sigterm_tensor" in vars(run.trainer.fit_loop.epoch_loop)
