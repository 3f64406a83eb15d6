"""Checks of a composed config before anything is built: contradictions, and settings without effect."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ganlab.config.compose import compose, num_steps, refuse_unread_keys
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import check_arguments, import_object, to_plain, validated_settings
from ganlab.config.stages import naming_part, part_configs, stage_configs
from ganlab.core.errors import format_value, prefixing_all_keys, require

# The settings of Lightning's Trainer that a config may have; ganlab sets the others itself.
TRAINER_SETTINGS = {
    "_target_", "_partial_", "accelerator", "devices", "num_nodes", "precision", "strategy", "sync_batchnorm",
}  # fmt: skip
# The classes of the network or the data in a place, which a torch module or data set is not.
CLASSES = {
    "model.generator": "ganlab.networks.base.Generator",
    "model.discriminator": "ganlab.networks.base.Discriminator",
    "data": "ganlab.data.base.Data",
}
# What the metrics of a run have from its config. To give another value selects FID.
OF_FID = {"extractor", "protocol", "evaluation.split", "metric.weights"}
# The groups of what is around the games of a run. To check their settings imports Lightning and torchvision.
AROUND_GAMES = ("trainer", "logger", "callback", "metric", "extractor", "views")


def check_config(cfg: DictConfig, overrides: Sequence[str] = (), unchecked: Sequence[str] = ()) -> None:
    """Checks the config of a run, and of each of its games, and refuses overrides that they would ignore.

    Args:
        unchecked: the groups whose objects are not compared with their constructors.

    Raises:
        ConfigError: a value has the wrong type or is out of its range, or two settings contradict each other.
    """
    groups = {"model", "initial", "optimizer", "clip"}
    named = [text for text in overrides if groups & {*text.lstrip("+").partition("=")[0].split(".")}]
    for stage, game_cfg in stage_configs(validated_settings(cfg)):
        place = None if stage is None else f"stages.{stage}"
        with prefixing_all_keys(place, separator="."):
            refuse_torch_classes(game_cfg)
            check_arguments(validated_settings(game_cfg), unchecked)
            check_game_config(game_cfg)
            used: set[str] = set()
            for part, part_cfg in part_configs(game_cfg).items():
                with naming_part(game_cfg, part):
                    check_arguments(part_cfg, unchecked)
                    check_game_config(part_cfg)
                    own = used_keys(part_cfg) if named else set()  # which builds the objective
                    refuse_unused_networks(own, named, f"games.{part}.")
                    used |= own
            refuse_unused_networks(used, named, f"{place}." if place else "")
    if not cfg.resume:
        if "data.labelled" in typed_values(overrides) and cfg.data.labelled:
            refuse_unused_labelled(cfg)
        refuse_unused_extractor(cfg, overrides)
        refuse_unused_weights(cfg)


def refuse_no_config(cfg: Any) -> None:
    """Refuses what `compose` cannot have returned. In a Hydra app, the config may have keys of the app."""
    is_config = isinstance(cfg, DictConfig) and {"data", "model", "trainer"} <= {*cfg}
    require(is_config, "is no config of a run", "make one by ganlab.compose", "config", type(cfg).__name__)
    if not HydraConfig.initialized():
        refuse_unread_keys(cfg, "run")


def refuse_torch_classes(cfg: DictConfig) -> None:
    """Refuses a torch module that is named as a player, and a torch data set that is named as the data."""
    for key, base in CLASSES.items():
        target, found = OmegaConf.select(cfg, f"{key}._target_"), None
        with suppress(Exception):  # an import may raise anything; what cannot be built is refused later
            found = import_object(target)
        recipe = f"give it as network of ganlab.networks.plain.{key.removeprefix('model.')}"
        remedy = "choose data=dataset and give it as data.train" if key == "data" else recipe
        is_own = not isinstance(found, type) or issubclass(found, import_object(base))
        require(is_own, f"is not a {base}", remedy, f"{key}._target_", target)


def used_keys(cfg: DictConfig) -> set[str]:
    """The keys of the networks and the players that the objective of a game uses."""
    from ganlab.config.build import instantiate
    from ganlab.core.players import network_names
    from ganlab.objectives.base import Objective

    objective: Objective = instantiate(cfg.objective, Objective)
    used = {f"model.{name}" for name in objective.network_names}
    used |= {f"initial.{name}" for name in network_names(objective.players)}
    return used | {f"{group}.{player}" for player in objective.players for group in ("optimizer", "clip")}


def refuse_unused_networks(used: set[str], overrides: Sequence[str], place: str) -> None:
    """Refuses overrides of networks and players that are not among the `used_keys` of some games.

    On the command line, `place` precedes these keys, such as "stages.low.".
    """
    for key, _, value in (override.lstrip("+").partition("=") for override in overrides):
        group, *names = key.removeprefix(place).split(".")
        if key.startswith(place) and names and group in ("model", "initial", "optimizer", "clip"):
            is_network, of_players = f"model.{names[0]}" in used, group in ("optimizer", "clip")
            lacks = ("has no player" if of_players else "trains no") if is_network else "has no"
            reason = f"has no effect: the objective {lacks} {names[0]}"
            require(f"{group}.{names[0]}" in used, reason, "remove it", key.removeprefix(place), value)


def check_game_config(cfg: DictConfig) -> None:
    """Checks the config of one game; see `check_config`."""
    remedy = "give a _target_ and its settings"
    for group in ("model", "optimizer", "logger"):
        for name, node in cfg[group].items():
            is_mapping = isinstance(node, DictConfig)
            require(is_mapping, "must be a mapping", remedy, f"{group}.{name}", to_plain(node))
    selected_nodes(cfg, "logger")
    for key in ("resume", "init_from", "run_dir"):
        require(cfg[key] != "", "is empty", "give a directory, or remove it", key, "")
    agrees = cfg.images is None or cfg.steps == num_steps(cfg.images, cfg.data.batch_size, cfg.default_steps)
    require(agrees, f"contradicts steps={cfg.steps}", "give only one of them", "images", cfg.images)
    remedy = f"remove it; supported are {', '.join(sorted(TRAINER_SETTINGS))}"
    for name, value in sorted(cfg.trainer.items()):
        require(name in TRAINER_SETTINGS, "is not supported", remedy, f"trainer.{name}", to_plain(value))
    # Every network must fit the data. If the data are codes of an encoder, only the networks of the players
    # must fit the codes, because no others are built.
    names = cfg.objective.weight if cfg.get("code_of") else cfg.model
    data_keys = {f"model.{name}.shape": "shape" for name in names} | {"model.generator.value_range": "range"}
    for key, data_key in data_keys.items():
        expected = to_plain(cfg.data[data_key])
        value = to_plain(OmegaConf.select(cfg, key, default=expected))
        reason = f"contradicts data.{data_key}={format_value(expected)}"
        require(value == expected, reason, f"remove it; it follows data.{data_key}", key, value)
    is_supported = cfg.trainer.devices == 1 or "strategy" in cfg.trainer
    require(is_supported, "needs trainer=ddp", "add it", "trainer.devices", cfg.trainer.devices)


def refuse_unused_extractor(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuses an extractor that no metric and no view uses."""
    views = (view for view in cfg.get("views") or [] if isinstance(view, DictConfig))
    is_used = metrics_use_extractor(cfg) or any(view.get("space") == "features" for view in views)
    is_given = "extractor" in typed_values(overrides)
    remedy = "add a metric such as metric=fid, or remove it"
    require(is_used or not is_given, "has no effect: no metric uses it", remedy, "extractor")


def typed_values(overrides: Sequence[str]) -> dict[str, str]:
    """The keys that overrides set, add or remove, and the values as the user typed them."""
    return {key: text for key, _, text in (override.lstrip("+~").partition("=") for override in overrides)}


def metrics_use_extractor(cfg: DictConfig) -> bool:
    """Whether a selected metric refers to the config of the extractor."""
    return "${extractor}" in str(OmegaConf.to_container(cfg.metric, resolve=False))


def refuse_unused_weights(cfg: DictConfig) -> None:
    """Refuses a file of weights that no extractor reads."""
    weights = cfg.metric.get("weights")
    is_used = weights is None or "weights" in (cfg.get("extractor") or {})
    remedy = "add extractor=inception, which reads them, or remove them"
    require(is_used, "has no effect", remedy, "metric.weights", weights)


def check_evaluation_config(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Checks the settings of `ganlab.evaluate` that need no images, and completes its metrics."""
    has_run, has_images = cfg.run_dir is not None, cfg.generated is not None
    reason = "needs exactly one of a run and generated images"
    remedy = "give either run_dir, or generated and real"
    require(has_run != has_images, reason, remedy, "run_dir", cfg.run_dir)
    # For each setting, the settings that have no effect together with it.
    of_runs = {"n", "seed", "class", "condition", "checkpoint", "evaluation.n", "evaluation.seed", "trust"}
    unused = {"protocol": {"n"}, "run_dir": {"real"}, "generated": of_runs}
    given = typed_values(overrides)
    combinations = [(setting, keys & given.keys()) for setting, keys in unused.items() if setting in given]
    if cfg.real is not None and Path(cfg.real).expanduser().is_dir():
        combinations.append(("real, a folder", {"root"} & given.keys()))
    for cause, unused_keys in combinations:
        require(not unused_keys, f"has no effect with {cause}", "remove it", min(unused_keys, default=""))
    if cfg.output:
        output = Path(cfg.output)
        reason = "must be a file that ends in .json, and not a file of a run"
        is_usable = output.suffix == ".json" and output.name not in ("summary.json", "profile.json")
        require(is_usable and not output.is_dir(), reason, "choose another name", "output", cfg.output)
    complete_metrics(cfg, given)
    refuse_unused_extractor(cfg, overrides)
    is_selected = set(cfg.metric) - {"weights"}
    require(is_selected, "no metric is selected", "select some, such as 'metric=[fid,kid]'", "metric")
    if has_images:
        refuse_unused_weights(cfg)  # not for a run, whose own extractor may read the weights
        remedy = "give a folder of images"
        require(Path(cfg.generated).is_dir(), "not a folder", remedy, "generated", cfg.generated)
        require(cfg.real, "missing", f"{remedy}, or the name of a data set", "real")
        is_complete = cfg.get("extractor") or not metrics_use_extractor(cfg)
        remedy = "choose inception, or a classifier for images like these, such as mnist"
        require(is_complete, "missing", remedy, "extractor")


def complete_metrics(cfg: DictConfig, given: Mapping[str, str]) -> None:
    """If no metric is given, selects those of the run; FID, if it has none or a setting of FID is given."""
    if {*cfg.metric} - {"weights"} or "metric" in given:
        return
    is_of_fid = cfg.run_dir is None or given.keys() & OF_FID
    own = {} if is_of_fid else selected_nodes(RunDirectory(cfg.run_dir, cfg.trust).config(), "metric")
    nodes = own or {"fid": compose("metric=fid", config_name="evaluate").metric.fid}
    OmegaConf.update(cfg, "metric", nodes, force_add=True)
    print(f"metric is not given: measuring {', '.join(nodes)}{' of the run' if own else ''}")


def refuse_unused_labelled(cfg: DictConfig) -> None:
    """Refuses labelled samples that no trick learns from."""
    from ganlab.core.capability import Capability  # imports torch, which other checks do not need

    tricks = [import_object(trick._target_) for trick in selected_nodes(cfg, "trick").values()]
    is_used = any(Capability.LABELLED_BATCH in getattr(trick, "needs", ()) for trick in tricks)
    remedy = "add a trick that learns from labelled samples, such as semi_supervised, or remove it"
    require(is_used, "has no effect", remedy, "data.labelled", cfg.data.labelled)


def selected_nodes(cfg: DictConfig, group: str) -> dict[str, DictConfig]:
    """The nodes of the selected tricks, metrics, loggers or callbacks, by name.

    A node without a class has settings of an option that was not selected, and is refused.
    """
    # metric.weights is a file for the extractor, not a metric.
    nodes = {str(name): node for name, node in cfg[group].items() if (group, name) != ("metric", "weights")}
    for name, node in nodes.items():
        has_class = isinstance(node, DictConfig) and isinstance(node.get("_target_"), str)
        remedy = f"select it with +{group}={name}, or remove its settings with '~{group}.{name}'"
        require(has_class, "has settings but was not selected", remedy, f"{group}.{name}", to_plain(node))
    return nodes
