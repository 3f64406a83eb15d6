"""How long the runs of a study would take, from a few steps that are played and thrown away."""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable, stages_before_main
from ganlab.core.errors import require
from ganlab.filesystem import Lock
from ganlab.studies.backend import Local, last_words, resuming
from ganlab.studies.composition import Job
from ganlab.studies.formatting import duration
from ganlab.studies.plan import Plan

FIRST, MORE = 10, 10  # steps: not timed, because much happens for the first time; and timed


def print_estimate(plan: Plan, backend: Local) -> None:
    """Prints how long the runs that are left would take, without evaluations, pictures and loggers."""
    total, left = 0.0, plan.kinds()
    for job, count in left:
        per_step, start = measured(job, backend)
        steps = Timetable(job.cfg).total
        time_of_all = count * (steps * per_step + start)
        each = f"{steps:,} steps of {1000 * per_step:.1f} ms, {start:.1f} s of starting and ending each"
        print(f"  {job.arm}: {count} runs, {each}: {duration(time_of_all)}", flush=True)
        total += time_of_all
    at_a_time = min(backend.processes, sum(count for _, count in left)) or 1
    without = "without evaluations, pictures, checkpoints and loggers"
    in_all = f"in all {duration(total / at_a_time)}, {at_a_time} at a time, {without}"
    print(in_all if left else "nothing to run")


def measured(job: Job, backend: Local) -> tuple[float, float]:
    """The seconds of a step, and those of everything before the first step and after the last.

    Raises:
        ConfigError: the run could not be played.
    """
    with tempfile.TemporaryDirectory() as folder:
        run, log, began = RunDirectory(Path(folder) / "trial"), Path(folder) / "log", time.monotonic()
        run.make_folders()
        run.write_config(shortened(job.cfg))
        process = backend.start(partial(resuming, job, run.path), log, Lock(run.path / "lock"))
        try:
            process.join()
        finally:
            process.kill()
        failed = f"arm {job.arm}: a trial of {FIRST + MORE} steps failed: {last_words(log)}"
        require(run.summary().get("status") == "finished", failed)
        callbacks = [run.checkpoint(name)[1]["callbacks"] for name in ("previous", "last")]
        early, late = (found["Bar"]["seconds"] for found in callbacks)
        return (late - early) / MORE, time.monotonic() - began - late


def shortened(cfg: DictConfig) -> DictConfig:
    """A config with few steps, of which stages have one each, and without all that is no game."""
    own: Any = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    with open_dict(own):
        own.metric, own.logger, own.monitor, own.images, own.profile = {}, {}, None, None, False
        for stage in stages_before_main(own).values():
            stage.steps = 1
        own.steps = FIRST + MORE - len(stages_before_main(own))
        own.evaluate_every = own.sample_every = FIRST + MORE + 1
        own.log_every = own.checkpoint_every = FIRST
    return own
