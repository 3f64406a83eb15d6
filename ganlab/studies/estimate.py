"""How long the runs of a study would take, from a few steps that are played and thrown away."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable, stages_before_main
from ganlab.core.errors import require
from ganlab.filesystem import Lock
from ganlab.studies.backend import Local, last_words
from ganlab.studies.formatting import duration
from ganlab.studies.plan import Job, Label, Plan

FIRST, MORE = 10, 10  # steps: not timed, because much happens for the first time; and timed


def print_estimate(plan: Plan, backend: Local) -> None:
    """Prints how long the runs that are left would take, without evaluations, pictures and loggers."""
    total, left, kinds = 0.0, plan.open(), dict[tuple[str, str], list[Label]]()
    for label in left:
        kinds.setdefault(plan.identity(label[0]), []).append(label)
    for first, *others in kinds.values():
        job, count = plan.job(first), 1 + len(others)
        steps, (per_step, start) = Timetable(job.cfg).total, measured(job, backend)
        time_of_all = count * (steps * per_step + start)
        each = f"{steps:,} steps of {1000 * per_step:.1f} ms, {start:.1f} s of starting and ending each"
        print(f"  {job.arm}: {count} runs, {each}: {duration(time_of_all)}", flush=True)
        total += time_of_all
    at_a_time = min(backend.processes, len(left)) or 1
    without = "without evaluations, pictures, checkpoints and loggers"
    print(f"in all {duration(total / at_a_time)}, {at_a_time} at a time, {without}")


def measured(job: Job, backend: Local) -> tuple[float, float]:
    """The seconds of a step, and those of everything before the first step and after the last.

    Raises:
        ConfigError: the run could not be played.
    """
    with tempfile.TemporaryDirectory() as folder:
        run, began = RunDirectory(Path(folder) / "trial"), time.monotonic()
        cfg = shortened(job.cfg)
        run.make_folders()
        run.write_config(cfg)
        trial = replace(job, cfg=cfg, directory=run.path, overrides=["logger=csv"], outside=[])
        backend.start(trial, Lock(run.path / "lock")).join()
        failed = f"arm {job.arm}: a trial of {FIRST + MORE} steps failed: {last_words(trial)}"
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
