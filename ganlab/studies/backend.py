"""The places where runs are played: processes of this machine, or tasks of a Ray cluster.

A place plays `processes` runs at a time with `threads` each. Its `start` gets a run and the lock on its
directory, and returns what `status` gets, which is the exit status of the run or None, and `end`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra

from ganlab.config.run_directory import RunDirectory
from ganlab.config.saved_config import allowed_targets
from ganlab.config.setting_types import target_nodes
from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import Lock
from ganlab.studies.plan import Job
from ganlab.training.provenance import config_dirs

RETRIES = 3  # of a task whose node was lost


class Local:
    """Processes of this machine, forked from one that has imported torch and Lightning."""

    def __init__(self, processes: int, threads: int):
        self.processes, self.threads = processes, threads
        os.environ["OMP_NUM_THREADS"] = str(threads)  # inherited by the server of the forks
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["ganlab.training.play_run"])

    def start(self, job: Job, lock: Lock) -> Any:
        # The lock is pickled, and so handed over to the process.
        process = self.context.Process(target=exit_with, args=(job, config_dirs(), Path.cwd(), lock))
        process.start()
        return process

    def status(self, process: Any) -> int | None:
        return process.exitcode

    def end(self, process: Any, at_once: bool = False) -> None:
        (process.kill if at_once else process.terminate)()


class Ray:
    """Tasks of a Ray cluster whose nodes share the folder of the runs. The tasks of a lost node start again.

    Args:
        address: that of the cluster, or "auto"; None: starts one on this machine.
        processes: the number of runs at a time; None: as many as the cluster has resources for.
        cpus, gpus: the resources of a run; a share of a GPU lets several runs share it.
    """

    def __init__(self, address: str | None, processes: int | None, threads: int, cpus: float, gpus: float):
        self.ray, self.threads = import_module("ray"), threads
        env = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(sys.path)}
        try:
            self.ray.init(address, runtime_env={"env_vars": env}, log_to_driver=False, logging_level="error")
        except ConnectionError as error:
            reason = "no Ray cluster answers"
            raise ConfigError(reason, "start one with ray start --head", "address", address) from error
        have = self.ray.cluster_resources()
        fits = [have.get(kind, 0.0) // need for kind, need in (("CPU", cpus), ("GPU", gpus)) if need]
        reason = f"the cluster has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs"
        require(min(fits, default=1) >= 1, f"num_cpus={cpus:g}, num_gpus={gpus:g}: {reason}", "ask for less")
        self.processes = processes or int(min(fits, default=1))
        # One call for each process, because a run leaves its settings behind.
        self.task = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, max_calls=1)(play)

    def start(self, job: Job, lock: Lock) -> Any:
        lock.release()  # the task locks the directory itself, where it runs
        return self.task.remote(job, config_dirs(), Path.cwd())

    def status(self, task: Any) -> int | None:
        try:
            return self.ray.get(task, timeout=0)
        except self.ray.exceptions.GetTimeoutError:
            return None
        except self.ray.exceptions.TaskCancelledError:
            return 130
        except self.ray.exceptions.RayError:
            return -signal.SIGKILL

    def end(self, task: Any, at_once: bool = False) -> None:
        self.ray.cancel(task, force=at_once)


Backend = Local | Ray


def exit_with(job: Job, options: Sequence[str], folder: Path, lock: Lock) -> None:
    sys.exit(play(job, options, folder))


def play(job: Job, options: Sequence[str], folder: Path) -> int:
    """Plays `ganlab.run` in this process, which plays nothing else, and returns the exit status."""
    os.chdir(folder)
    with job.log.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["HYDRA_FULL_ERROR"] = "0"  # errors in one line
    GlobalHydra.instance().clear()
    try:
        sys.argv = ["ganlab/run.py", *options, *arguments(job)]
        runpy.run_module("ganlab.run", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def arguments(job: Job) -> list[str]:
    """Of ganlab.run: to begin a run, or to go on with it if it was begun.

    The packages that it may build from are those that the study names or trusts, never those of the run.
    """
    named = {str(node["_target_"]) for _, node in target_nodes(job.cfg)} - allowed_targets()
    packages = sorted({name.split(".")[0] for name in named} | set(job.cfg.trust))
    if not RunDirectory(job.directory).config_file.is_file():
        return [*job.overrides, f"seed={job.seed}", f"run_dir={job.directory}", *job.outside]
    trust = [f"trust=[{','.join(packages)}]"] if packages else []
    loggers = ["logger=wandb", *(override for override in job.overrides if override.startswith("logger"))]
    return [f"resume={job.directory}", f"steps={job.cfg.steps}", *trust, *loggers, *job.outside]


def last_words(job: Job) -> str:
    """What a run said of its failure: the line of the command, or else the last one."""
    text = job.log.read_text(errors="replace") if job.log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("run: ") for line in lines if line.startswith("run: ")]
    return (told or lines or ["it ended without a word"])[-1]
