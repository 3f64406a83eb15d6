"""A run that is to be: composed, built and refused before it is played."""

import copy
import json
from collections.abc import Sequence

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlab.config.build import build_data, build_evaluation
from ganlab.config.checks import check_config
from ganlab.config.compose import compose, user_message
from ganlab.config.overrides import quote
from ganlab.config.stages import Timetable
from ganlab.core.errors import ConfigError, prefixing_all_keys
from ganlab.data.base import Data
from ganlab.metrics.evaluation import Evaluation
from ganlab.suites import identity
from ganlab.training.build import build

# What is decided for each run, so that nobody else's word on it would count.
OWN = ("seed", "run_dir", "resume", "job")


class Composed:
    """A run whose config was composed.

    Args:
        place: where its overrides were written, and whose they are, to begin a refusal with.
        group: of runs, which a logger is told of.
        name: of its own in the group.
        overrides: that make it what it is.
        root: data.root; None: as it has it.
        extra: overrides that change no number: paths, hardware, logger.

    Raises:
        ConfigError: an override does not compose, or `extra` changes what the run is.
    """

    def __init__(
        self,
        place: str,
        group: str,
        name: str,
        overrides: Sequence[str],
        root: str | None,
        extra: Sequence[str],
    ):
        self.place = place
        self.name = name
        self.overrides = [*overrides]
        bare = composing(place, self.overrides)
        self.rooted = "root" in bare.data
        self.outside = [*([f"data.root={root}"] if root is not None and self.rooted else []), *extra]
        self.config = identity.config(bare)
        self.cfg = bare
        if self.outside:
            self.cfg = composing(f"extra={list(extra)}, {place}", [*self.overrides, *self.outside])
        if identity.config(self.cfg) != self.config:
            raise ConfigError(
                f"extra={list(extra)} changes what the runs are ({place}): it is for paths, hardware and "
                "loggers; what all runs share stands in base"
            )
        # The logger's node is told of the group, unless somebody has said otherwise.
        node = self.cfg.logger.get("wandb")
        if node is not None:
            told_of = {"group": group, "job_type": name}
            self.outside += [
                f"logger.wandb.{key}={quote(text)}" for key, text in told_of.items() if node[key] is None
            ]
        self.data = json.dumps(
            OmegaConf.to_container(self.cfg.data, resolve=True), sort_keys=True, default=str
        )

    def of(self, seed: int) -> DictConfig:
        """Its config with a seed."""
        own = copy.deepcopy(self.cfg)
        own.seed = seed
        return own

    def built_data(self) -> Data:
        """Its data; a refusal says whose they are."""
        with prefixing_all_keys(self.place):
            return build_data(copy.deepcopy(self.cfg))

    def evaluation(self, data: Data) -> Evaluation:
        """What would measure it; it is built once, to see that it can be played."""
        with prefixing_all_keys(self.place):
            return built(self, data)


def composing(place: str, overrides: Sequence[str]) -> DictConfig:
    """The config of some overrides, refused by the place that they stand at."""
    try:
        cfg = compose(*overrides)
        OmegaConf.to_container(cfg, resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{place} does not compose: {user_message(error)}") from error
    return cfg


def built(run: Composed, data: Data) -> Evaluation:
    """Refuses what a run would refuse at its start, and returns what would measure it."""
    cfg = run.of(0)
    if cfg.data.num_classes is None:
        cfg.data.num_classes = data.num_classes_of_all
    check_config(cfg, run.overrides)
    Timetable(cfg).check_batches(data)
    game = build(cfg, data).game
    evaluation = build_evaluation(cfg, data)
    evaluation.check_game(game)
    evaluation.monitored_value(cfg.monitor)
    return evaluation


def measured(evaluation: Evaluation, metric: str, place: str) -> tuple[str, bool]:
    """The full name of a metric, and whether more of it is better."""
    try:
        name, more = evaluation.monitored_value(metric)
    except ConfigError as refusal:
        raise ConfigError(f"{place} {str(refusal).removeprefix('monitor=')}") from refusal
    return str(name), more


def refuse_extra(extra: Sequence[str]) -> None:
    """Refuses overrides for all runs of what is set for each of them."""
    for override in extra:
        if key(override) in (*OWN, "init_from", "name"):
            raise ConfigError(f"extra: {override} is set for each run: leave it out")


def key(override: str) -> str:
    """What an override is of."""
    return override.lstrip("+~").split("=")[0]
