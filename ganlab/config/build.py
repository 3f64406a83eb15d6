"""Construction of objects from a config."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from ganlab.config.checks import selected_nodes
from ganlab.config.kinds import check_arguments
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import UNSET, ConfigError, completing_relative_keys, error_message, require
from ganlab.core.randomness import derive_seed
from ganlab.core.turn import Capability, Networks
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.evaluation import Evaluation, OpenProgressBar
from ganlab.networks.base import Discriminator, Generator, replace_modules
from ganlab.networks.norms import BATCH_NORMS, ElementaryNorm, SynchronisedNorm
from ganlab.objectives.base import Objective
from ganlab.tricks.base import Trick

NETWORK_NAMES = ("discriminator", "generator", "encoder")  # in the groups model, initial and clip


@contextmanager
def as_config_errors() -> Iterator[None]:
    """Turns any exception of the block into a `ConfigError`.

    If the constructor of an object raised it, the error gets the key of the node that describes the object.
    """
    try:
        yield
    except ConfigError:
        raise
    except InstantiationException as error:
        key = str(error).partition("full_key: ")[2].strip().replace("[", ".").replace("]", "")
        if not isinstance(error.__cause__, ConfigError):
            raise ConfigError(error_message(error.__cause__ or error), key=key) from error
        with completing_relative_keys(key):
            raise error.__cause__ from None
    except Exception as error:
        raise ConfigError(error_message(error).rstrip("."), "set HYDRA_FULL_ERROR=1 to see where") from error


def instantiate(node: Any, kind: type = object) -> Any:
    """The object that a node of the config describes, or a partial that makes it (`_partial_: true`).

    Raises:
        ConfigError: the constructor refuses the settings, or the object is not of the given kind.
    """
    check_arguments(node)
    with as_config_errors():
        built = hydra.utils.instantiate(node, _convert_="all")
    cls = getattr(built, "func", None)  # what a partial calls; None for any other object
    if not (isinstance(built, kind) or (isinstance(cls, type) and issubclass(cls, kind))):
        reason, key = f"is not a {kind.__module__}.{kind.__name__}", node._get_full_key("_target_")
        raise ConfigError(reason, "derive the class from that, or wrap it", key, node.get("_target_"))
    return built


def instantiate_group(cfg: DictConfig, group: str) -> dict[str, Any]:
    """The objects of the selected tricks or metrics, by name."""
    kind = {"trick": Trick, "metric": SampleMetric}[group]
    return {name: instantiate(node, kind) for name, node in selected_nodes(cfg, group).items()}


def build_data(cfg: DictConfig) -> Data:
    """The data set. Writes the number of classes that it finds in its files into the config."""
    data: Data = instantiate(cfg.data, Data)
    if cfg.data.num_classes is None:
        cfg.data.num_classes = data.num_classes
    return data


def build_data_of_run(run: RunDirectory, cfg: DictConfig) -> Data:
    """The data set of a run, by its config; warns if the run was trained on different data."""
    data = build_data(cfg)
    if run.summary().get("data_sha256") not in (None, data.fingerprint()):
        print("the run was trained on other data than these", file=sys.stderr)
    return data


def build_evaluation(
    cfg: DictConfig, data: Data, open_progress_bar: OpenProgressBar = Evaluation.open_progress_bar
) -> Evaluation:
    """The metrics of a config on some data; `open_progress_bar` opens a progress bar."""
    sizes = {"n": cfg.evaluation.n, "n_real": cfg.evaluation.n_real, "seed": cfg.evaluation.seed}
    return Evaluation(instantiate_group(cfg, "metric"), data, **sizes, open_progress_bar=open_progress_bar)


def build_game(cfg: DictConfig, data: Data | None = None, code_of: Game | None = None) -> Game:
    """The game of a config. Weights depend on the seed, and on the data if an initialiser uses them.

    Args:
        cfg: the config of one game; the group `stages` is ignored.
        data: the data that initialisers may use. None: data-dependent weights stay as they were drawn, which
            suffices if weights will be loaded.
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
            # Now, before weights are loaded: float64 weights would be rounded if float32 ones received them.
            game = game.double() if cfg.trainer.precision == "64-true" else game
            if cfg.trainer.get("sync_batchnorm", False):
                replace_modules(game, (*BATCH_NORMS, ElementaryNorm), SynchronisedNorm)
            # Convolutions are faster in this format on CPUs and GPUs; results differ in the last bit at most.
            return game.to(memory_format=torch.channels_last)


def unavailable_capabilities(cfg: DictConfig) -> set[Capability]:
    """The capabilities that the hardware, the compiler or the data exclude."""
    unavailable = {Capability.ONE_PROCESS} if num_processes(cfg) > 1 else set()
    unavailable |= {Capability.SECOND_DERIVATIVES} if cfg.compile else set()
    return unavailable if cfg.data.get("labelled") else unavailable | {Capability.LABELLED_BATCH}


def num_processes(cfg: DictConfig) -> int:
    """The number of processes of a run, on all machines."""
    return int(cfg.trainer.devices * cfg.trainer.get("num_nodes", 1))


def build_network(cfg: DictConfig, player: str, data: Data | None, **facts: int) -> Any:
    """A network of the game, drawn from a seed that depends on `player`, its name.

    Args:
        data: as in `build_game`.
        facts: settings that the objective determines; with them, the node of the config is a partial.
    """
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
