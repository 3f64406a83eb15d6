"""How long the runs of a suite would take, from a few rounds of each arm that are played and thrown away."""

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable, stages_before_main
from ganlab.core.errors import ConfigError
from ganlab.suites.child import last_words, start, trusting
from ganlab.suites.plan import Job
from ganlab.suites.standing import clock, rounds

FIRST, MORE = 10, 10  # rounds: not timed, since much happens for the first time; and timed


class Trial(NamedTuple):
    """What a few rounds of an arm took."""

    seconds_per_round: float
    start: float  # seconds of everything before the first round, and after the last


def trial(job: Job, threads: int) -> Trial:
    """Plays a few rounds of an arm in a temporary folder, with no metric and no logger.

    Raises:
        ConfigError: it could not be played.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "trial")
        run.make_folders()
        run.write_config(shortened(job.cfg))
        began = time.monotonic()
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = start([f"resume={run.path}", *trusting(job)], output, threads, output)
            try:
                process.wait()
            finally:
                process.kill()  # no trial outlives the command that asked for it
                process.wait()
        took = time.monotonic() - began
        if run.summary().get("status") != "finished":
            raise ConfigError(f"arm {job.arm}: a trial of {FIRST + MORE} rounds failed: {last_words(log)}")
        (_, early), (_, late) = clock(run, "previous"), clock(run, "last")
        return Trial((late - early) / MORE, took - late)


def shortened(cfg: DictConfig) -> DictConfig:
    """A config as it is, but for its length and all that is no game; stages have a round each."""
    own: Any = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    with open_dict(own):
        own.metric, own.logger, own.monitor, own.images, own.profile = {}, {}, None, None, False
        for stage in stages_before_main(own).values():
            stage.steps = 1
        own.steps = FIRST + MORE - len(stages_before_main(own))
        own.evaluate_every = own.sample_every = FIRST + MORE + 1
        own.log_every = own.checkpoint_every = FIRST
    return own


def rounds_left(job: Job) -> int:
    """How many rounds of a run are to be played."""
    return max(Timetable(job.cfg).total - (rounds(job.directory) or 0), 0)
