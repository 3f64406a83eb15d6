"""Construction of objects from a config."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import InterpolationKeyError

from ganlab.config.checks import selected_nodes
from ganlab.config.compose import CONF
from ganlab.config.parts import naming_part, part_configs
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import check_arguments, to_plain
from ganlab.core.errors import ConfigError, complete_key, error_message
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.evaluation import Evaluation, completing_error_keys
from ganlab.tricks.base import Trick


@contextmanager
def as_config_errors() -> Iterator[None]:
    """Turns any exception of the block into a `ConfigError`.

    If the constructor of an object raised it, the error gets the key of the node that describes the object.
    Hydra writes this key at the end of its message, for example "full_key: initial.generator[0]".
    """
    try:
        yield
    except ConfigError:
        raise
    except InstantiationException as error:
        key = str(error).partition("full_key: ")[2].strip().replace("[", ".").replace("]", "")
        cause = error.__cause__
        if not isinstance(cause, ConfigError):
            raise ConfigError(error_message(cause or error), key=key) from error
        # The constructor did not know its key, so its error may have a relative key, such as ".gamma".
        raise cause.with_key(complete_key(cause.key, owner=key)).with_traceback(cause.__traceback__) from None
    except InterpolationKeyError as error:
        missing = str(error).split("'")[1]
        group, _, name = missing.partition(".")
        files = sorted(CONF.glob(f"{group}/*.yaml"))
        options = [file.stem for file in files if re.search(f"^{name}:", file.read_text(), re.MULTILINE)]
        remedy = f"choose {group} with a {name}: {', '.join(options)}" if options else f"set {missing}"
        raise ConfigError(f"is that of {missing}, which is missing", remedy, str(error.full_key)) from error
    except Exception as error:
        raise ConfigError(error_message(error).rstrip("."), "set HYDRA_FULL_ERROR=1 to see where") from error


def instantiate(
    node: Any, base_class: type = object, adapt: Callable[[Any], Any] | None = None, **arguments: Any
) -> Any:
    """The object that a node of the config describes, or a partial that makes it (`_partial_: true`).

    `arguments` replace settings of the node. `adapt` replaces an object of another class than `base_class`.

    Raises:
        ConfigError: the constructor refuses the settings, or the object is no instance of `base_class`.
    """
    check_arguments(node)
    with as_config_errors():
        built = hydra.utils.instantiate(node, _convert_="all", **arguments)
        if adapt is not None and not isinstance(built, base_class):
            built = adapt(built)
    cls = getattr(built, "func", None)  # what a partial calls; None for any other object
    if not (isinstance(built, base_class) or (isinstance(cls, type) and issubclass(cls, base_class))):
        reason = f"is not a {base_class.__module__}.{base_class.__name__}"
        remedy = "derive the class from that, or wrap it"
        raise ConfigError(reason, remedy, key=node._get_full_key("_target_"), value=node.get("_target_"))
    return built


def instantiate_group(cfg: DictConfig, group: str) -> dict[str, Any]:
    """The objects of the selected tricks or metrics, by name. Metrics of torchmetrics become ganlab's."""
    nodes = selected_nodes(cfg, group).items()
    if group == "trick":
        return {name: instantiate(node, Trick) for name, node in nodes}

    def adapted(name: str, node: DictConfig, metric: Any) -> Any:
        from ganlab.metrics.torchmetric import adapt  # its import takes as long as that of torch

        with completing_error_keys(name):
            return adapt(metric, name, to_plain(node), cfg.evaluation.split)

    return {name: instantiate(node, SampleMetric, partial(adapted, name, node)) for name, node in nodes}


def build_data(cfg: DictConfig) -> Data:
    """The data set. If the config lacks the number of classes, writes that of all the data into it."""
    data: Data = instantiate(cfg.data, Data)
    if cfg.data.num_classes is None:
        cfg.data.num_classes = data.num_classes_of_all
    for i, (name, part_cfg) in enumerate(part_configs(cfg).items()):
        if to_plain(part_cfg.data) != to_plain(cfg.data):
            with naming_part(cfg, name):
                data.parts[name] = instantiate(part_cfg.data, Data)
            data.parts.setdefault(None if i == 0 else name, data.parts[name])
    return data


def build_data_of_run(run: RunDirectory, cfg: DictConfig, root: str | None) -> Data:
    """The data set of a run, in the folder `root` if one is given; warns if the run had different data."""
    if root is not None:
        cfg.data.root = root
    data = build_data(cfg)
    if run.summary().get("data_sha256") not in (None, data.fingerprint()):
        print("the run was trained on different data", file=sys.stderr)
    return data


def build_evaluation(cfg: DictConfig, data: Data) -> Evaluation:
    """The metrics of a config, which compare generated samples with those of some data."""
    from ganlab.metrics.progress_bar import progress_bar  # imports rich, which no game needs

    settings = {"n": cfg.evaluation.n, "n_real": cfg.evaluation.n_real, "seed": cfg.evaluation.seed}
    return Evaluation(instantiate_group(cfg, "metric"), data, **settings, open_progress_bar=progress_bar)


def build_evaluations(cfg: DictConfig, data: Data, games: Mapping[str, Game]) -> dict[str, Evaluation]:
    """The metrics of a run's games, each on its own data; refuses what a metric cannot measure."""
    evaluations = {name: build_evaluation(cfg, data.of_part(name)) for name in games}
    for name, game in games.items():
        evaluations[name].check_game(game)
    return evaluations
