"""The module of a run, built without its Trainer."""

from __future__ import annotations

from collections.abc import Mapping

from omegaconf import DictConfig

from ganlab.config.load import LoadedRun, build_run
from ganlab.config.prepare import build_phases
from ganlab.data.base import Data
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play


def build(
    cfg: DictConfig, data: Data | None = None, borrowed: Mapping[str, LoadedRun] | None = None
) -> GameModule:
    """The module that plays the games of a config."""
    return GameModule(build_phases(cfg, build_run(cfg, data, borrowed), Phase, Play))
