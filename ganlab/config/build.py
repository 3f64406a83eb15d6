"""From config to objects: the only file that wires them together."""

from typing import Any

import hydra
import torch
from omegaconf import DictConfig

from ganlab.config.checks import selected_nodes
from ganlab.config.kinds import check_arguments
from ganlab.core.errors import ConfigError, completing, one_line
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

ROLES = ("discriminator", "generator", "encoder")


def instantiate(node: Any, kind: type = object) -> Any:
    """The object that a node of the config describes, or what makes it.

    Raises:
        ConfigError: its constructor refused a value, or would not take it, or it is of another kind.
    """
    check_arguments(node)
    with as_config_errors():
        made = hydra.utils.instantiate(node, _convert_="all")
    makes = getattr(made, "func", None)  # of a partial
    if not (isinstance(made, kind) or (isinstance(makes, type) and issubclass(makes, kind))):
        raise ConfigError(
            f"{node._get_full_key('_target_')}={node.get('_target_')} makes no {kind.__module__}."
            f"{kind.__name__}, which is what belongs there: make it one, or wrap yours in one"
        )
    return made


def instantiate_group(cfg: DictConfig, group: str) -> dict[str, Any]:
    """The tricks or the metrics of a config, by name."""
    kind = {"trick": Trick, "metric": SampleMetric}[group]
    return {name: instantiate(node, kind) for name, node in selected_nodes(cfg, group).items()}


def build_data(cfg: DictConfig) -> Data:
    """The data set; facts that it found out by itself are written back into the config."""
    data: Data = instantiate(cfg.data, Data)
    if cfg.data.num_classes is None:
        cfg.data.num_classes = data.num_classes
    return data


def build_evaluation(cfg: DictConfig, data: Data, *watch: Watch) -> Evaluation:
    """What measures a game, by its config."""
    asked = cfg.evaluation
    return Evaluation(instantiate_group(cfg, "metric"), data, asked.n, asked.n_real, asked.seed, *watch)


def build_game(cfg: DictConfig, data: Data | None = None, code_of: Game | None = None) -> Game:
    """Players, objective and tricks; weights depend on the seed, and on the data if an initialiser does.

    Without data such weights stay as they were drawn: they are to be restored. `code_of` is the game of
    the stage that cfg.code_of names; other stages are none of this one's concern.

    Raises:
        ConfigError: a value is out of its range, or a trick could not act.
    """
    with as_config_errors():
        objective = instantiate(cfg.objective, Objective)
        tricks = instantiate_group(cfg, "trick")
        with torch.random.fork_rng(devices=[]):
            networks = {player: network(cfg, player, data) for player in objective.players}
            if objective.num_statistics:
                generator = networks["generator"]
                num_outputs = objective.num_statistics * generator.latent_dim
                generator.encoder = network(cfg, "encoder", data, num_outputs=num_outputs)
            networks["generator"].class_counts = data and data.class_counts()
            torch.default_generator.manual_seed(derive_seed(cfg.seed, "tricks"))
            game = Game(
                Networks(networks["generator"], networks.get("discriminator"), cfg.data.num_classes),
                objective,
                tricks,
                unavailable=frozenset(taken_by_setting(cfg)),
                autoencoder=code_of,
            )
            # Before any weights are restored: a detour over float32 would round them.
            game = game.double() if cfg.trainer.precision == "64-true" else game
            if cfg.trainer.get("sync_batchnorm", False):
                replace_modules(game, (*BATCH_NORMS, ElementaryNorm), SynchronisedNorm)
            # Convolutions are faster so, on CPUs and GPUs alike, and differ in the last bit at most.
            return game.to(memory_format=torch.channels_last)


def taken_by_setting(cfg: DictConfig) -> set[Capability]:
    """What no trick can have, because of where and how the networks are computed, and on which data."""
    taken = {Capability.ONE_PROCESS} if num_processes(cfg) > 1 else set()
    taken |= {Capability.SECOND_DERIVATIVES} if cfg.compile else set()
    return taken if cfg.data.get("labelled") else taken | {Capability.LABELLED_BATCH}


def num_processes(cfg: DictConfig) -> int:
    """The number of processes of a run, on all machines."""
    return int(cfg.trainer.devices * cfg.trainer.get("num_nodes", 1))


def network(cfg: DictConfig, player: str, data: Data | None, **facts: int) -> Any:
    """One player's network, from a seed of its own; `facts` are what the objective asks of it."""
    if player not in cfg.model:
        raise ConfigError(
            f"the objective needs an {player}, which this model does not have: choose model=vae or give it "
            f"model.{player}"
        )
    torch.default_generator.manual_seed(derive_seed(cfg.seed, player))
    kinds = {"generator": Generator, "discriminator": Discriminator}
    made = instantiate(cfg.model[player], kinds.get(player, object))
    made = made(**facts) if facts else made
    for initial in instantiate(cfg.initial.get(player, [])):
        initial(made, data and data.mean)
    return made


class as_config_errors:  # noqa: N801, reads as a phrase
    """Turns an error of a constructor into one line that names the value."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, hydra.errors.InstantiationException):
            key = str(error).partition("full_key: ")[2].strip()
            if isinstance(error.__cause__, ConfigError):
                with completing(key):
                    raise error.__cause__ from None
            raise ConfigError(one_line(error.__cause__ or error), key=key) from error
        if isinstance(error, Exception) and not isinstance(error, ConfigError):
            raise ConfigError(f"{one_line(error)} (HYDRA_FULL_ERROR=1 shows where)") from error
