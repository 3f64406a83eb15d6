"""One run of a suite as a process of its own, and what is to be recorded of its end."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ganlab.config.run_directory import RunDirectory
from ganlab.config.saved_config import allowed_targets
from ganlab.config.setting_types import target_nodes
from ganlab.core.errors import require
from ganlab.core.numerics import NUMERICS
from ganlab.filesystem import config_error_if_unwritable
from ganlab.suites.plan import Job
from ganlab.suites.results import Row
from ganlab.suites.standing import ended
from ganlab.training.provenance import config_dirs

COMMAND = (sys.executable, "-m", "ganlab.run")
# Of a crash: it would come again. Others, such as SIGKILL for want of memory, may be of the moment.
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)


def right_to(folder: Path, job: Job) -> TextIO | None:
    """The right to play a run of the suite or sweep in a folder; None where anybody has it.

    It is a locked file, of this process and of the one that plays, until both have closed it or ended. It
    lies with the results, which all share who play them, wherever each has its runs.

    Raises:
        ConfigError: it cannot be written there.
    """
    path = folder / ".locks" / job.directory.name
    with config_error_if_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class Child:
    """A run that is being played; what it prints goes to a file beside its directory."""

    def __init__(self, job: Job, lock: TextIO, threads: int):
        self.job, self.lock, self.began = job, lock, time.monotonic()
        self.log = job.directory.with_name(f"{job.directory.name}.log")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as log:
            self.process = start([*config_dirs(), *arguments(job)], lock, threads, log)

    def row(self) -> Row | None:
        """What is to be recorded; None where it was interrupted, and goes on at another time."""
        status = self.process.returncode
        if ended(self.job.directory):
            return recorded(self.job)
        summary = RunDirectory(self.job.directory).summary()
        if -status in CRASHES:
            return recorded(self.job, f"killed by {self.killed_by}: {last_words(self.log)}")
        if status < 0 or status == 130 or (status == 0 and summary.get("status") == "stopped"):
            return None
        # 2 is a refusal, before which the summary may be that of an earlier attempt.
        if status != 2 and summary.get("status") in ("failed", "diverged"):
            return recorded(self.job)
        return recorded(self.job, last_words(self.log))

    @property
    def killed_by(self) -> str | None:
        """The name of the signal that ended it; None where it ended otherwise."""
        status = self.process.returncode
        return signal.Signals(-status).name if status < 0 else None


def start(arguments: Sequence[str], lock: TextIO, threads: int, log: TextIO) -> subprocess.Popen[bytes]:
    """A run in a process of its own, which holds the lock for as long as it lives."""
    command, fds = [*COMMAND, *arguments], [lock.fileno()]
    # Of errors the one line is wanted, whatever this command was asked for.
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "HYDRA_FULL_ERROR": "0"}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, pass_fds=fds)


def arguments(job: Job) -> list[str]:
    """Of ganlab.run: to begin the run, or to go on with it where it was begun."""
    directory = RunDirectory(job.directory, packages(job))
    if not (directory.path / "config.yaml").is_file():
        shutil.rmtree(directory.path, ignore_errors=True)  # what a kill has left before there was a run
        return [*job.overrides, f"seed={job.seed}", f"run_dir={directory.path}", *job.outside]
    changed = f"{directory.path} was given another budget by hand: remove it, and it is run again"
    require(directory.config().steps == job.cfg.steps, changed)
    everything = [*job.overrides, *job.outside]
    groups = [override for override in everything if override.startswith("logger=")] or ["logger=wandb"]
    others = [override for override in everything if override.startswith("logger.")]
    outside = [override for override in job.outside if not override.startswith("logger")]
    return [f"resume={directory.path}", *trusting(job), *groups[-1:], *others, *outside]


def trusting(job: Job) -> list[str]:
    """What a resume must be allowed, which is never read from the run."""
    return [f"trust=[{','.join(packages(job))}]"] if packages(job) else []


def packages(job: Job) -> list[str]:
    """Those whose classes who wrote the suite has named, or has trusted."""
    named = {str(node["_target_"]) for _, node in target_nodes(job.cfg)} - allowed_targets()
    return sorted({name.split(".")[0] for name in named} | set(job.cfg.trust))


def recorded(job: Job, reason: str | None = None) -> Row:
    """The row of a run that ended as its summary says; or failed, for a reason that is not in it."""
    place = job.directory / "summary.json"
    found: dict[str, Any] = RunDirectory(job.directory).summary()
    status = "failed" if reason is not None else found["status"]
    records = found.get("metrics", {}) if status == "finished" else {}
    when = place.stat().st_mtime if reason is None else time.time()
    commit = found.get("commit") or ""
    return Row(
        **{name: getattr(job, name) for name in ("arm", "seed", "config", "data", "code")},
        status=status,
        reason=reason or found.get("reason") or "",
        numerics=NUMERICS,
        commit=commit[:12] + "+" * commit.endswith("+"),
        steps=found.get("steps", 0),
        images=found.get("images", 0),
        seconds=found.get("seconds", 0.0),
        device=device(found),
        finished=f"{datetime.fromtimestamp(when, UTC):%Y-%m-%dT%H:%M:%SZ}",
        value=records[job.names[0]]["value"] if job.names[0] in records else None,
        metrics={name: records[name] for name in job.names if name in records},
    )


def device(summary: dict[str, Any]) -> str:
    """What a run was played on; on a CPU its last bits, and so its number, hang on the threads."""
    name, threads = str(summary.get("device", "")), summary.get("threads")
    return f"{name}, {threads} thread{'s' * (threads > 1)}" if name == "cpu" and threads else name


def last_words(log: Path) -> str:
    """What a run said of its failure: the line of the command, or else the last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("run: ") for line in lines if line.startswith("run: ")]
    return (told or lines or ["it ended without a word"])[-1]
