"""Construction of objects from a config."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from ganlab.config.checks import selected_nodes
from ganlab.config.kinds import check_arguments
from ganlab.core.errors import UNSET, ConfigError, completing_relative_keys, one_line, require
from ganlab.core.randomness import derive_seed
from ganlab.core.turn import Capability, Networks
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.evaluation import Evaluation, Watch
from ganlab.networks.base import Discriminator, Generator, replace_modules
from ganlab.networks.norms import BATCH_NORMS, ElementaryNorm, SynchronisedNorm
from ganlab.objectives.base import Objective
from ganlab.tricks.base import Trick

NETWORK_NAMES = ("discriminator", "generator", "encoder")


@contextmanager
def as_config_errors() -> Iterator[None]:
    """Turns any exception into a `ConfigError`; one of a constructor gets the key of the object's node."""
    try:
        yield
    except ConfigError:
        raise
    except InstantiationException as error:
        key = str(error).partition("full_key: ")[2].strip().replace("[", ".").replace("]", "")
        if not isinstance(error.__cause__, ConfigError):
            raise ConfigError(one_line(error.__cause__ or error), key=key) from error
        with completing_relative_keys(key):
            raise error.__cause__ from None
    except Exception as error:
        raise ConfigError(one_line(error).rstrip("."), "set HYDRA_FULL_ERROR=1 to see where") from error


def instantiate(node: Any, kind: type = object) -> Any:
    """The object of a node of the config, or the partial that makes it.

    Raises:
        ConfigError: its constructor refuses the settings, or it is not of the given kind.
    """
    check_arguments(node)
    with as_config_errors():
        made = hydra.utils.instantiate(node, _convert_="all")
    maker = getattr(made, "func", None)  # of a partial
    if not (isinstance(made, kind) or (isinstance(maker, type) and issubclass(maker, kind))):
        reason, key = f"is not a {kind.__module__}.{kind.__name__}", node._get_full_key("_target_")
        raise ConfigError(reason, "derive the class from that, or wrap it", key, node.get("_target_"))
    return made


def instantiate_group(cfg: DictConfig, group: str) -> dict[str, Any]:
    """The selected tricks or metrics, by name."""
    kind = {"trick": Trick, "metric": SampleMetric}[group]
    return {name: instantiate(node, kind) for name, node in selected_nodes(cfg, group).items()}


def build_data(cfg: DictConfig) -> Data:
    """The data set; the number of classes that it finds in its files is written into the config."""
    data: Data = instantiate(cfg.data, Data)
    if cfg.data.num_classes is None:
        cfg.data.num_classes = data.num_classes
    return data


def build_evaluation(cfg: DictConfig, data: Data, *watch: Watch) -> Evaluation:
    """The metrics of a config on some data."""
    own = cfg.evaluation
    return Evaluation(instantiate_group(cfg, "metric"), data, own.n, own.n_real, own.seed, *watch)


def build_game(cfg: DictConfig, data: Data | None = None, code_of: Game | None = None) -> Game:
    """Players, objective and tricks; weights depend on the seed, and on the data if an initialiser does.

    Args:
        cfg: of one game; other stages are ignored.
        data: None: data-dependent weights stay as they were drawn, because they will be loaded.
        code_of: the game of the stage that cfg.code_of names.

    Raises:
        ConfigError: a value is out of its range, or a trick could not act.
    """
    with as_config_errors():
        objective = instantiate(cfg.objective, Objective)
        tricks = instantiate_group(cfg, "trick")
        with torch.random.fork_rng(devices=[]):
            networks = {player: build_network(cfg, player, data) for player in objective.players}
            if objective.has_encoder():
                generator = networks["generator"]
                num_outputs = objective.num_statistics * generator.latent_dim
                generator.encoder = build_network(cfg, "encoder", data, num_outputs=num_outputs)
            networks["generator"].class_counts = data and data.class_counts()
            torch.default_generator.manual_seed(derive_seed(cfg.seed, "tricks"))
            game = Game(
                Networks(networks["generator"], networks.get("discriminator"), cfg.data.num_classes),
                objective,
                tricks,
                unavailable=frozenset(unavailable_capabilities(cfg)),
                autoencoder=code_of,
            )
            # Before weights are loaded: a conversion by way of float32 would round them.
            game = game.double() if cfg.trainer.precision == "64-true" else game
            if cfg.trainer.get("sync_batchnorm", False):
                replace_modules(game, (*BATCH_NORMS, ElementaryNorm), SynchronisedNorm)
            # Convolutions are faster in this format on CPUs and GPUs; results differ in the last bit at most.
            return game.to(memory_format=torch.channels_last)


def unavailable_capabilities(cfg: DictConfig) -> set[Capability]:
    """The capabilities that no trick can have because of the hardware, the compiler or the data."""
    taken = {Capability.ONE_PROCESS} if num_processes(cfg) > 1 else set()
    taken |= {Capability.SECOND_DERIVATIVES} if cfg.compile else set()
    return taken if cfg.data.get("labelled") else taken | {Capability.LABELLED_BATCH}


def num_processes(cfg: DictConfig) -> int:
    """The number of processes of a run, on all machines."""
    return int(cfg.trainer.devices * cfg.trainer.get("num_nodes", 1))


def build_network(cfg: DictConfig, player: str, data: Data | None, **facts: int) -> Any:
    """One player's network, from a seed of its own; `facts` are settings that the objective determines."""
    key = f"model.{player}"
    require(player in cfg.model, key, UNSET, "is needed by the objective", "add it, or choose model=vae")
    torch.default_generator.manual_seed(derive_seed(cfg.seed, player))
    kind = {"generator": Generator, "discriminator": Discriminator}.get(player, object)
    network = instantiate(cfg.model[player], kind)
    with completing_relative_keys(key):
        network = network(**facts) if facts else network
    initialisers = instantiate(cfg.initial.get(player, []))
    with completing_relative_keys(f"initial.{player}"):
        for initialise in initialisers:
            initialise(network, data and data.mean)
    return network
