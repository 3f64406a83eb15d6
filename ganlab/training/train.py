"""A run from its config to its result. Imports torch and Lightning only to train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ganlab.config.checks import refuse_no_config
from ganlab.config.resume import config_to_play

if TYPE_CHECKING:
    from ganlab.game import Game
    from ganlab.metrics.protocols import MetricRecords

CALLBACK = "a callback"  # what stopped a run that no signal stopped, such as one of callback=time_limit


@dataclass(frozen=True)
class Result:
    """What a run has led to.

    Attributes:
        metrics: the metrics after the last step, by name; empty if a signal stopped the run.
        records: the same metrics, each with a record of how it was measured.
        status: "finished", or "stopped" by a signal or a callback.
        reason: the signal, or `CALLBACK`; None: the run has finished.
        run_dir: the directory of the run, which `load` reads.
        game: the trained main game in evaluation mode; of a composite of games, the first part.
    """

    metrics: Mapping[str, float]
    records: MetricRecords
    status: str
    reason: str | None
    run_dir: Path
    game: Game


def train(config: DictConfig, overrides: Sequence[str] = ()) -> Result:
    """Trains a game to its last step, then evaluates it. Prints what a run prints.

    It seeds the random generators of torch, numpy and Python in each step, and leaves them so.

    Args:
        config: the result of `compose`.
        overrides: the overrides of the config, of which those that would have no effect are refused. To
            resume a run, they are needed, because they say which settings are new.

    Raises:
        ConfigError: the config cannot be played. In this case nothing is written.
        Diverged: a loss or a weight is not finite, or explodes; the last good checkpoint is kept.
        ProcessLost: another process of the run has died.
    """
    refuse_no_config(config)
    config, directory = config_to_play(deepcopy(config), overrides)  # a run completes its config
    from ganlab.training.play_run import play_run, start_run

    return play_run(start_run(config, overrides, directory))
