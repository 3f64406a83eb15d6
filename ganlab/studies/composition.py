"""The runs of a study, composed and identified."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlab.config import compose, identity
from ganlab.config.overrides import quote
from ganlab.core.errors import ConfigError, require
from ganlab.core.numerics import NUMERICS
from ganlab.studies.spec import Study

# The keys that are set for each run, so that other values of them would have no effect.
OWN = ("seed", "run_dir", "resume", "job")


@dataclass(frozen=True)
class Job:
    """One run of a study."""

    arm: str  # of a search: trial0, trial1, ...
    seed: int
    overrides: list[str]  # of ganlab.run, without the seed
    outside: list[str]  # overrides that change no result: paths, hardware, logger
    place: str  # where the overrides are written, the beginning of refusals
    cfg: DictConfig  # of any seed
    config: str  # hashes
    folder: Path  # of all runs of the study
    data: str = ""  # empty until the data are built
    parameters: dict[str, Any] = field(default_factory=dict)
    space: str = ""

    @property
    def directory(self) -> Path:
        """The run directory; a run of another config, data or numerics has another one."""
        run = f"{self.config} {self.seed} {self.data} {NUMERICS}"
        return self.folder / f"{self.arm}_seed{self.seed}_{identity.short(run.encode())}"

    @property
    def data_settings(self) -> str:
        """The same for runs of the same data."""
        data = OmegaConf.to_container(self.cfg.data, resolve=True)
        return json.dumps(data, sort_keys=True, default=str)


def compose_job(study: Study, cfg: DictConfig, place: str, arm: str, overrides: list[str]) -> Job:
    """A run as its overrides say, with the settings `root`, `extra` and `output` of the command.

    Args:
        cfg: the settings in conf/ablate.yaml.
        place: the key of the study's file that the overrides come from.
        arm: what the run is called; loggers are told it.

    Raises:
        ConfigError: an override cannot be composed, or `extra` changes what the run is.
    """
    place, extra = f"{study.at(place)}: {arm}", list(cfg.extra)
    full = bare = composed(place, overrides)
    outside = [*([f"data.root={cfg.root}"] if cfg.root is not None and "root" in bare.data else []), *extra]
    if outside:
        full = composed(f"extra={extra}, {place}", [*overrides, *outside])
    config = identity.config(bare)
    remedy = "it is for paths, hardware and loggers; what all runs share stands in base"
    is_same = identity.config(full) == config
    require(is_same, f"extra={extra} changes what the runs are ({place})", remedy)
    if (wandb := full.logger.get("wandb")) is not None:
        told = {"group": study.name, "job_type": arm}.items()
        outside += [f"logger.wandb.{key}={quote(text)}" for key, text in told if wandb[key] is None]
    folder = Path(cfg.output).expanduser().resolve() / study.name
    return Job(arm, full.seed, overrides, outside, place, full, config, folder)


def composed(place: str, overrides: Sequence[str]) -> DictConfig:
    """The config of overrides; refusals begin with their place."""
    try:
        cfg = compose.compose(*overrides)
        OmegaConf.to_container(cfg, resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{place} does not compose: {compose.user_message(error)}") from error
    return cfg


def key(override: str) -> str:
    """The key of an override."""
    return override.lstrip("+~").partition("=")[0]
