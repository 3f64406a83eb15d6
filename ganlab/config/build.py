"""Construction of objects from a config: games, data and metrics."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import InterpolationKeyError

from ganlab.config.checks import selected_nodes
from ganlab.config.compose import CONF, num_processes
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import check_arguments, is_borrowed, to_plain
from ganlab.config.stages import naming_part, part_configs
from ganlab.core.batch import ConditionSpec
from ganlab.core.capability import Capability
from ganlab.core.errors import ConfigError, complete_key, completing_relative_keys, error_message, require
from ganlab.core.players import Networks, network_names
from ganlab.core.randomness import derive_seed
from ganlab.core.space import CodeOf, Space
from ganlab.data.base import Data
from ganlab.data.conditions import default_conditions
from ganlab.game import Game
from ganlab.games import Bridge, Games, Playable
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.evaluation import Evaluation, completing_error_keys
from ganlab.networks.base import Discriminator, Encoder, Generator, replace_modules
from ganlab.networks.borrowed import Borrowed
from ganlab.networks.norms import BATCH_NORMS, DifferentiableBatchNorm, SynchronisedNorm
from ganlab.objectives.base import Objective
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
            message = error_message(cause or error).partition(" Are you sure")[0]
            remedy = "start in the folder that has it, or install it" if "No module named" in message else ""
            raise ConfigError(message, remedy, key=key) from error
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


def build_game(cfg: DictConfig, data: Data | None = None, lenders: Mapping[str, Game] = {}) -> Game:
    """The game of a config. Weights depend on the seed, and on the data if an initialiser uses them.

    Args:
        cfg: the config of one game, from `stage_configs`.
        data: the data that initialisers may use; None suffices if weights will be loaded.
        lenders: the games of earlier stages and of borrowed runs by name.

    Raises:
        ConfigError: a value is out of range, or a trick could not act.
    """
    with as_config_errors():
        objective = instantiate(cfg.objective, Objective)
        tricks = instantiate_group(cfg, "trick")
        with torch.random.fork_rng(devices=[]):
            names = objective.network_names
            networks = {name: build_network(cfg, name, data, lenders) for name in names if name != "encoder"}
            if "encoder" in names:
                num_outputs = objective.outputs_per_latent * networks["generator"].latent_dim
                networks["encoder"] = build_network(cfg, "encoder", data, lenders, num_outputs=num_outputs)
            check_borrowed(networks, objective, cfg)
            # The trick ema recomputes batch norm statistics from samples. It draws the classes of these
            # samples in proportion to the counts.
            networks["generator"].class_counts = None if data is None else data.class_counts()
            # `Game` calls the tricks, which may add layers and draw their weights.
            torch.default_generator.manual_seed(derive_seed(cfg.seed, "tricks"))
            space = Space(cfg.data.shape)
            if cfg.get("game_space") is not None:
                space = instantiate(cfg.game_space, Space)
            if cfg.get("code_of"):
                space = CodeOf(lenders[cfg.code_of])
            drawn = None if data is None else data.conditions("train")
            conditions = drawn and (lambda n: space.enter_condition(drawn(n)))
            all_networks = Networks(networks, condition_of(cfg), conditions, objective.players)
            unavailable = unavailable_capabilities(cfg, data)
            game = Game(all_networks, objective, tricks, unavailable, space, lenders.values())
            if data is not None:
                game.conditions = default_conditions(game.generator.condition, data)
            if cfg.trainer.precision == "64-true":  # before weights are loaded: float32 would round them
                game.double()
            if cfg.trainer.get("sync_batchnorm", False):
                # `DifferentiableBatchNorm` is the batch norm that the trick `unrolled` uses.
                replace_modules(game, (*BATCH_NORMS, DifferentiableBatchNorm), SynchronisedNorm)
            # Convolutions are faster in this format on CPUs and GPUs; results differ in the last bit at most.
            return game.to(memory_format=torch.channels_last)


def build_games(cfg: DictConfig, data: Data | None, lenders: Mapping[str, Game]) -> Playable:
    """The game of a config, or the games of its setting `games` as one; see `build_game`."""
    parts = {}
    for name, part_cfg in part_configs(cfg).items():
        with naming_part(cfg, name):
            parts[name] = build_game(part_cfg, None if data is None else data.of_part(name), lenders)
    return Games(parts, instantiate(cfg.bridge, Bridge)) if cfg.get("games") else parts[""]


def condition_of(cfg: DictConfig) -> ConditionSpec | None:
    """What goes with a sample of the data: `data.condition`, or the class; None: nothing."""
    if cfg.data.get("condition") is not None:
        return instantiate(cfg.data.condition, ConditionSpec)
    chosen = cfg.data.get("classes")
    classes = len(chosen) if chosen else cfg.data.num_classes
    return None if classes is None else ConditionSpec("class", num_classes=classes, paired=False)


def unavailable_capabilities(cfg: DictConfig, data: Data | None) -> frozenset[Capability]:
    """The capabilities that the hardware, the compiler or the data exclude."""
    is_unavailable = {
        Capability.ONE_PROCESS: num_processes(cfg) > 1,
        Capability.SECOND_DERIVATIVES: cfg.compile,
        Capability.LABELLED_BATCH: not cfg.data.get("labelled"),
        Capability.INDEX: data is not None and data.sources["train"].augments,
    }
    return frozenset(filter(is_unavailable.get, is_unavailable))


def build_network(
    cfg: DictConfig, name: str, data: Data | None, lenders: Mapping[str, Game], **derived_settings: int
) -> Any:
    """A network of the game, drawn from a seed that depends on its name, or borrowed from another game.

    The arguments are those of `build_game`. Initialisers get the method `mean` of the data, if there are any.
    `derived_settings` are those settings of an encoder that the objective determines.
    """
    key = f"model.{name}"
    require(name in cfg.model, "is needed by the objective", "add it, or choose model=vae", key)
    node = cfg.model[name]
    base_class = {"generator": Generator, "discriminator": Discriminator}.get(name, object)
    if is_borrowed(node):
        borrowed = borrow(node, name, lenders, key)
        kind = Encoder if name == "encoder" else base_class
        fits = borrowed.name == name or isinstance(borrowed.game.networks[borrowed.name], kind)
        require(fits, f"cannot be the {name}", "choose another", f"{key}.network", borrowed.name)
        return borrowed
    arguments = {a: borrow(node[a], name, lenders, f"{key}.{a}") for a in node if is_borrowed(node[a])}
    torch.default_generator.manual_seed(derive_seed(cfg.seed, name))
    network = instantiate(node, base_class, **arguments)
    if derived_settings:  # the node of the encoder is a partial, which still lacks these settings
        with completing_relative_keys(key):
            network = network(**derived_settings)
    initialisers = instantiate(cfg.initial.get(name, []))
    with completing_relative_keys(f"initial.{name}"):
        for initialise in initialisers:
            initialise(network, None if data is None else data.mean)
    return network


def borrow(node: DictConfig, role: str, lenders: Mapping[str, Game], key: str) -> Borrowed:
    """The network of a node {borrowed: <a stage or a run>, network: <its role there, if another>}."""
    lender, name = node.borrowed, node.get("network", role)
    others = ", ".join(sorted(set(map(str, node)) - {"borrowed", "network"}))
    require(not others, f"is borrowed, so it has no {others}", "remove them, or borrowed", key)
    remedy = f"choose from {', '.join(lenders)}" if lenders else "add borrows.<name>=<run_dir>"
    require(lender in lenders, "is no earlier stage and no borrowed run", remedy, f"{key}.borrowed", lender)
    known = lenders[lender].networks
    require(name in known, f"{lender} has {', '.join(known)}", "choose another", f"{key}.network", name)
    return Borrowed(lenders[lender], name)


def check_borrowed(networks: Mapping[str, Any], objective: Objective, cfg: DictConfig) -> None:
    """Raises `ConfigError` unless just the networks that no player updates are borrowed, and fit the data."""
    updated = network_names(objective.players)
    for name, network in networks.items():
        is_borrowed = isinstance(network, Borrowed)
        reason = "is trained by the objective" if is_borrowed else "is trained by no player of the objective"
        remedy = "give it settings of its own" if is_borrowed else "borrow it: {borrowed: <a key of borrows>}"
        require(is_borrowed != (name in updated), reason, remedy, f"model.{name}")
    generator = networks["generator"]
    fits = [*generator.shape] == [*cfg.data.shape] and generator.condition in (None, condition_of(cfg))
    told = "nothing" if generator.condition is None else generator.condition.kind
    reason = f"makes {list(generator.shape)} and is told {told}, which does not fit these data"
    require(fits or not isinstance(generator, Borrowed), reason, "choose others", "model.generator")


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
        (cfg.data.get("of") or cfg.data).root = root
    data = build_data(cfg)
    if run.summary().get("data_sha256") not in (None, data.fingerprint()):
        print("the run was trained on different data", file=sys.stderr)
    return data


def build_evaluation(cfg: DictConfig, data: Data) -> Evaluation:
    """The metrics of a config, which compare generated samples with those of some data."""
    settings = {"n": cfg.evaluation.n, "n_real": cfg.evaluation.n_real, "seed": cfg.evaluation.seed}
    return Evaluation(instantiate_group(cfg, "metric"), data, **settings)


def build_evaluations(cfg: DictConfig, data: Data, games: Mapping[str, Game]) -> dict[str, Evaluation]:
    """The metrics of a run's games, each on its own data; refuses what a metric cannot measure."""
    evaluations = {name: build_evaluation(cfg, data.of_part(name)) for name in games}
    for name, game in games.items():
        evaluations[name].check_game(game)
    return evaluations
