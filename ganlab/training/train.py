"""A run from its config to its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from ganlab.game import Game


@dataclass(frozen=True)
class Result:
    """What a run has led to.

    Attributes:
        metrics: the metrics after the last step, by name; empty if a signal stopped the run.
        status: "finished", or "stopped" by a signal.
        run_dir: the directory of the run.
        game: the trained main game, in evaluation mode; of a composite of games, the first part.
    """

    metrics: Mapping[str, float]
    status: str
    run_dir: Path
    game: Game


def train(config: DictConfig, overrides: Sequence[str] = ()) -> Result:
    """Trains a game to its last step, then evaluates it."""
    from ganlab.training.lifecycle import play
    from ganlab.training.session import Session

    session = Session(config, overrides)
    metrics = play(session)
    status = "stopped" if session.stop.signal else "finished"
    return Result(metrics, status, session.directory.path, session.module.game.eval())
