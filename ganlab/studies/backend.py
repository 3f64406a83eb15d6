"""The places where runs are played: processes of this machine, or tasks of a Ray cluster.

A place plays `processes` runs at a time with `threads` each. Its `start` gets a function that returns the
arguments of ganlab.run as soon as the run starts, the file for the output, and the lock on the directory of
the run. It returns an object with `exitcode`, `terminate` and `kill` of `multiprocessing.Process`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra

from ganlab.config.run_directory import RunDirectory
from ganlab.config.saved_config import allowed_targets
from ganlab.config.setting_types import target_nodes
from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import Lock
from ganlab.studies.composition import Job

RETRIES = 3  # of a task whose node was lost


class Local:
    """Processes of this machine, forked from one that has imported torch and Lightning."""

    def __init__(self, processes: int, threads: int):
        self.processes, self.threads = processes, threads
        os.environ["OMP_NUM_THREADS"] = str(threads)  # inherited by the server of the forks
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["ganlab.training.play_run"])

    def start(self, run: partial[list[str]], log: Path, lock: Lock) -> Any:
        # The lock is pickled, and so handed over to the process.
        process = self.context.Process(target=exit_with, args=(run, log, lock))
        process.start()
        return process


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

    def start(self, run: partial[list[str]], log: Path, lock: Lock) -> RayTask:
        lock.release()  # the task locks the directory itself, where it runs
        return RayTask(self.ray, self.task.remote(run, log, Path.cwd()))


Backend = Local | Ray


class RayTask:
    """A task of a Ray cluster, with the interface of a process."""

    def __init__(self, ray: Any, reference: Any):
        self.ray, self.reference = ray, reference
        self.terminate = partial(ray.cancel, reference)
        self.kill = partial(ray.cancel, reference, force=True)

    @property
    def exitcode(self) -> int | None:
        if not self.ray.wait([self.reference], timeout=0)[0]:
            return None
        try:
            return self.ray.get(self.reference)
        except self.ray.exceptions.TaskCancelledError:
            return 130
        except self.ray.exceptions.RayError:
            return -signal.SIGKILL


def exit_with(run: partial[list[str]], log: Path, lock: Lock) -> None:
    sys.exit(play(run, log, Path.cwd()))


def play(run: partial[list[str]], log: Path, folder: Path) -> int:
    """Plays `ganlab.run` in this process, which plays nothing else, and returns the exit status."""
    os.chdir(folder)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["HYDRA_FULL_ERROR"] = "0"  # errors in one line
    GlobalHydra.instance().clear()
    try:
        sys.argv = ["ganlab/run.py", *run()]
        runpy.run_module("ganlab.run", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ConfigError as error:
        print(f"run: {error}", file=sys.stderr)
        return 2
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def last_words(log: Path) -> str:
    """What a run said of its failure: the line of the command, or else the last one."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("run: ") for line in lines if line.startswith("run: ")]
    return (told or lines or ["it ended without a word"])[-1]


def arguments(job: Job, config_dirs: Sequence[str]) -> list[str]:
    """Of ganlab.run: to begin a run, or to go on with it if it was begun."""
    directory = RunDirectory(job.directory, trusted_packages(job))
    if not directory.config_file.is_file():
        for path in directory.path.glob("*"):  # what a process left that was killed before there was a run
            if path.name not in ("lock", "summary.json"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [*config_dirs, *job.overrides, f"seed={job.seed}", f"run_dir={directory.path}", *job.outside]
    reason = f"{directory.path} was given another budget by hand"
    require(directory.config().steps == job.cfg.steps, reason, "remove it, and it is run again")
    everything = [*job.overrides, *job.outside]
    groups = [override for override in everything if override.startswith("logger=")] or ["logger=wandb"]
    loggers = [override for override in everything if override.startswith("logger.")]
    outside = [override for override in job.outside if not override.startswith("logger")]
    return [*config_dirs, *resuming(job, directory.path), groups[-1], *loggers, *outside]


def resuming(job: Job, path: Path) -> list[str]:
    """The overrides that resume a run. What it may build is never read from the run."""
    packages = trusted_packages(job)
    return [f"resume={path}", *([f"trust=[{','.join(packages)}]"] if packages else [])]


def trusted_packages(job: Job) -> list[str]:
    """The packages whose classes the author of the study has named, or has trusted."""
    named = {str(node["_target_"]) for _, node in target_nodes(job.cfg)} - allowed_targets()
    return sorted({name.split(".")[0] for name in named} | set(job.cfg.trust))
