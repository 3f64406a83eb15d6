"""A run that is to be: composed, built and refused before it is played."""

import copy
import json
from collections.abc import Sequence

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlab.config import build, checks, compose, load, prepare, stages
from ganlab.config.overrides import quote
from ganlab.core.errors import ConfigError, prefixing_all_keys, require
from ganlab.data.base import Data
from ganlab.metrics.evaluation import monitored_value
from ganlab.suites import identity
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play

# What is decided for each run, so that nobody else's word on it would count.
OWN = ("seed", "run_dir", "resume", "job")


class Composed:
    """A run whose config was composed.

    Args:
        place: where its overrides were written, and whose they are, to begin a refusal with.
        group, name: that a logger is told of: which runs it belongs to, and which of them it is.
        overrides: that make it what it is.
        root: data.root; None: as it has it.
        extra: overrides that change no number: paths, hardware, logger.

    Raises:
        ConfigError: an override does not compose, or `extra` changes what the run is.
    """

    def __init__(
        self, place: str, group: str, name: str,
        overrides: Sequence[str], root: str | None, extra: Sequence[str],
    ):  # fmt: skip
        self.place, self.name, self.overrides = place, name, [*overrides]
        bare = composing(place, self.overrides)
        self.rooted = "root" in bare.data
        self.outside = [*([f"data.root={root}"] if root is not None and self.rooted else []), *extra]
        self.config = identity.config(bare)
        self.cfg = bare
        if self.outside:
            self.cfg = composing(f"extra={list(extra)}, {place}", [*self.overrides, *self.outside])
        changed = f"extra={list(extra)} changes what the runs are ({place})"
        remedy = "it is for paths, hardware and loggers; what all runs share stands in base"
        require(identity.config(self.cfg) == self.config, f"{changed}: {remedy}")
        # The logger's node is told of the group, unless somebody has said otherwise.
        node = self.cfg.logger.get("wandb")
        if node is not None:
            untold = {"group": group, "job_type": name}.items()
            self.outside += [f"logger.wandb.{k}={quote(text)}" for k, text in untold if node[k] is None]
        data = OmegaConf.to_container(self.cfg.data, resolve=True)
        self.data = json.dumps(data, sort_keys=True, default=str)

    def of(self, seed: int) -> DictConfig:
        """Its config with a seed."""
        own = copy.deepcopy(self.cfg)
        own.seed = seed
        return own

    def built_data(self) -> Data:
        """Its data; a refusal says whose they are."""
        with prefixing_all_keys(self.place):
            return build.build_data(copy.deepcopy(self.cfg))

    def measured(self, data: Data, metrics: Sequence[str], place: str) -> list[tuple[str, bool]]:
        """The full names of metrics, and whether more of each is better; one that is not measured is refused.

        The run is built once: what it would refuse at its start is refused here.

        Args:
            data: as `built_data` returns them.
            metrics: as `monitor` takes them.
            place: where they were written, to begin a refusal with.
        """
        cfg = self.of(0)
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
        return [(str(name), more) for name, more in found]


def composing(place: str, overrides: Sequence[str]) -> DictConfig:
    """The config of some overrides, refused by the place that they stand at."""
    try:
        cfg = compose.compose(*overrides)
        OmegaConf.to_container(cfg, resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{place} does not compose: {compose.user_message(error)}") from error
    return cfg


def refuse_extra(extra: Sequence[str]) -> None:
    """Refuses overrides for all runs of what is set for each of them."""
    for override in extra:
        if key(override) in (*OWN, "init_from", "name"):
            raise ConfigError(f"extra: {override} is set for each run: leave it out")


def key(override: str) -> str:
    """What an override is of."""
    return override.lstrip("+~").split("=")[0]
