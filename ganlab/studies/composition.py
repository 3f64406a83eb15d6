"""A run of a study before it is played: composed, built and refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlab.config import compose, identity
from ganlab.config.overrides import quote
from ganlab.core.errors import ConfigError, prefixing_all_keys, require
from ganlab.core.numerics import NUMERICS

if TYPE_CHECKING:
    from ganlab.data.base import Data

# The keys that are set for each run, so that other values of them would have no effect.
OWN = ("seed", "run_dir", "resume", "job")


@dataclass(frozen=True)
class Job:
    """One run of a study."""

    arm: str  # of a search: trial0, trial1, ...
    seed: int
    overrides: list[str]  # of ganlab.run, without the seed
    outside: list[str]  # overrides that change no result: paths, hardware, logger
    cfg: DictConfig
    config: str  # hashes
    data: str
    code: str
    folder: Path  # of all runs of the study
    metrics: list[str]  # the study's metrics, by full name
    parameters: dict[str, Any] = field(default_factory=dict)
    space: str = ""

    @property
    def directory(self) -> Path:
        """The run directory; a run of another config, data or numerics has another one."""
        run = f"{self.config} {self.seed} {self.data} {NUMERICS}"
        return self.folder / f"{self.arm}_seed{self.seed}_{identity.short(run.encode())}"


class Composed:
    """A composed config.

    Args:
        place: the source of its overrides, the beginning of refusals.
        group, name: the study and the run, which loggers are told.
        overrides: the overrides that make the run what it is.
        root: data.root; None: as the config has it.
        extra: overrides that change no result: paths, hardware, logger.

    Raises:
        ConfigError: an override cannot be composed, or `extra` changes what the run is.
    """

    def __init__(
        self, place: str, group: str, name: str,
        overrides: Sequence[str], root: str | None, extra: Sequence[str],
    ):  # fmt: skip
        self.place, self.name, self.overrides = place, name, [*overrides]
        self.cfg = bare = composed(place, self.overrides)
        self.reads_files = "root" in bare.data
        self.outside = [*([f"data.root={root}"] if root is not None and self.reads_files else []), *extra]
        self.config = identity.config(bare)
        if self.outside:
            self.cfg = composed(f"extra={list(extra)}, {place}", [*self.overrides, *self.outside])
        changed = f"extra={list(extra)} changes what the runs are ({place})"
        remedy = "it is for paths, hardware and loggers; what all runs share stands in base"
        require(identity.config(self.cfg) == self.config, changed, remedy)
        if (wandb := self.cfg.logger.get("wandb")) is not None:
            told = {"group": group, "job_type": name}.items()
            self.outside += [f"logger.wandb.{key}={quote(text)}" for key, text in told if wandb[key] is None]
        data = OmegaConf.to_container(self.cfg.data, resolve=True)
        self.data_settings = json.dumps(data, sort_keys=True, default=str)

    def with_seed(self, seed: int) -> DictConfig:
        own = copy.deepcopy(self.cfg)
        own.seed = seed
        return own

    def build_data(self) -> Data:
        from ganlab.config import build  # imports torch

        with prefixing_all_keys(self.place):
            return build.build_data(copy.deepcopy(self.cfg))

    def measured(self, data: Data, metrics: Sequence[str], place: str) -> list[tuple[str, bool]]:
        """The full names of metrics, and whether higher is better.

        The run is built once, so that what it would refuse at its start is refused here.

        Args:
            data: the result of `build_data`.
            metrics: names as `monitor` takes them.
            place: where these are written, the beginning of refusals.
        """
        from ganlab.config import build, checks, load, prepare, stages
        from ganlab.metrics.evaluation import monitored_value
        from ganlab.training.module import GameModule, Phase
        from ganlab.training.play import Play

        cfg = self.with_seed(0)
        with prefixing_all_keys(self.place):
            if cfg.data.num_classes is None:
                cfg.data.num_classes = data.num_classes_of_all
            checks.check_config(cfg, self.overrides)
            stages.Timetable(cfg).check_batches(data)
            module = GameModule(prepare.build_phases(cfg, load.build_run(cfg, data), Phase, Play))
            evaluations = build.build_evaluations(cfg, data, module.parts)
            monitored_value(evaluations, cfg.monitor)
        try:
            found = [monitored_value(evaluations, metric) for metric in metrics]
        except ConfigError as refusal:
            raise ConfigError(f"{place} {str(refusal).removeprefix('monitor=')}") from refusal
        return [(str(name), higher) for name, higher in found]


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
