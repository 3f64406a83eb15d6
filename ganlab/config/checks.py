"""Checks of a composed config before anything is built: contradictions, and settings without effect."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ganlab.config.compose import num_steps
from ganlab.config.kinds import check_arguments, import_object, to_plain, validated_settings
from ganlab.config.stages import stage_configs
from ganlab.core.errors import UNSET, ConfigError, format_value, prefixing_all_keys, require

# The settings of Lightning's Trainer that a config may have; ganlab sets the others itself.
TRAINER = {
    "_target_", "_partial_", "accelerator", "devices", "num_nodes", "precision", "strategy", "sync_batchnorm",
}  # fmt: skip


def check_config(cfg: DictConfig) -> None:
    """Checks the config of a run, and of each of its stages.

    Raises:
        ConfigError: a value is of the wrong kind or out of its range, or two settings contradict each other.
    """
    for name, game_cfg in stage_configs(validated_settings(cfg)):
        with prefixing_all_keys(name and f"stages.{name}", joint="."):
            check_arguments(validated_settings(game_cfg))
            check_game_config(game_cfg)


def check_game_config(cfg: DictConfig) -> None:
    """Checks the config of one game; see `check_config`."""
    for group in ("model", "optimizer", "logger"):
        for name, node in cfg[group].items():
            is_mapping, remedy = isinstance(node, DictConfig), "give a _target_ and its settings"
            require(is_mapping, f"{group}.{name}", to_plain(node), "must be a mapping", remedy)
    selected_nodes(cfg, "logger")
    for key in ("resume", "init_from", "run_dir"):
        require(cfg[key] != "", key, "", "is empty", "give a directory, or remove it")
    agrees = cfg.images is None or cfg.steps == num_steps(cfg.images, cfg.data.batch_size, cfg.default_steps)
    require(agrees, "images", cfg.images, f"contradicts steps={cfg.steps}", "give only one of them")
    for name in set(cfg.trainer) - TRAINER:
        remedy = f"remove it; supported are {', '.join(sorted(TRAINER))}"
        raise ConfigError("is not supported", remedy, f"trainer.{name}", to_plain(cfg.trainer[name]))
    # If the data are codes of an encoder, only the networks of the objective's players are built and must
    # fit the codes. `objective.weight` has an entry for each player.
    players = cfg.objective.weight if cfg.get("code_of") else cfg.model
    shapes = [(f"model.{player}.shape", "shape") for player in players]
    for key, name in [*shapes, ("model.generator.value_range", "range")]:
        fact = to_plain(cfg.data[name])
        value = to_plain(OmegaConf.select(cfg, key, default=fact))
        reason = f"contradicts data.{name}={format_value(fact)}"
        require(value == fact, key, value, reason, f"remove it; it follows data.{name}")
    is_supported = cfg.trainer.devices == 1 or "strategy" in cfg.trainer
    require(is_supported, "trainer.devices", cfg.trainer.devices, "needs trainer=ddp", "add it")


def refuse_unused_settings(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuses settings of networks, data and extractors that the game would ignore."""
    # A resume keeps the saved objective; `ganlab.training.resume` compares the overrides with it.
    used = {"discriminator": "discriminator" in cfg.objective.weight}
    used["encoder"] = bool(cfg.resume) or has_encoder(cfg)
    for key, _, value in (override.lstrip("+").partition("=") for override in overrides):
        for player in (player for player in used if not used[player]):
            is_unused = key.startswith((f"model.{player}", f"optimizer.{player}"))
            require(not is_unused, key, value, f"has no effect: the objective has no {player}", "remove it")
        if key == "data.labelled" and cfg.data.labelled and not cfg.resume:
            refuse_unused_labelled(cfg)
    if not cfg.resume:
        refuse_unused_extractor(cfg, overrides)
        refuse_unused_weights(cfg)


def refuse_unused_extractor(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuses an extractor that no metric and no view uses."""
    given = {override.lstrip("+~").split("=")[0] for override in overrides}
    views = (view for view in cfg.get("views") or [] if isinstance(view, DictConfig))
    viewed = any(view.get("space") == "features" for view in views)
    metrics = str(OmegaConf.to_container(cfg.metric))
    unused = "extractor" in given and not viewed and "${extractor}" not in metrics
    remedy = "add a metric such as metric=fid, or remove it"
    require(not unused, "extractor", UNSET, "has no effect: no metric uses it", remedy)


def refuse_unused_weights(cfg: DictConfig) -> None:
    """Refuses a file of weights that no extractor reads."""
    weights = cfg.metric.get("weights")
    used = weights is None or "weights" in (cfg.get("extractor") or {})
    remedy = "add extractor=inception, which reads them, or remove them"
    require(used, "metric.weights", weights, "has no effect", remedy)


def check_evaluation_config(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Checks the settings of `ganlab.evaluate` that need no run and no images.

    Raises:
        ConfigError: a setting is missing, has no effect together with others, or cannot be used.
    """
    images, reason = cfg.generated is not None, "needs exactly one of a run and generated images"
    remedy = "give either run_dir, or generated and real"
    require((cfg.run_dir is None) == images, "run_dir", cfg.run_dir, reason, remedy)
    # The settings that have no effect if a certain one is given, or if `real` is a folder.
    unused = {"protocol": {"n"}, "run_dir": {"real"}, "real, a folder": {"root"}}
    unused["generated"] = {"n", "seed", "checkpoint", "evaluation.n", "evaluation.seed", "trust"}
    given = {override.lstrip("+~").split("=")[0] for override in overrides}
    if cfg.real is not None and Path(cfg.real).expanduser().is_dir():
        given.add("real, a folder")
    for cause, keys in unused.items():
        for key in sorted(keys & given if cause in given else ()):
            raise ConfigError(f"has no effect with {cause}", "remove it", key)
    refuse_unused_extractor(cfg, overrides)
    remedy = "select some, such as 'metric=[fid,kid]'"
    require(set(cfg.metric) - {"weights"}, "metric", UNSET, "no metric is selected", remedy)
    if images:
        refuse_unused_weights(cfg)  # a run's own extractor may read them
        is_folder, remedy = Path(cfg.generated).is_dir(), "give a folder of images"
        require(is_folder, "generated", cfg.generated, "not a folder", remedy)
        require(cfg.real, "real", UNSET, "missing", f"{remedy}, or the name of a data set")
        extracts = "${extractor}" in str(OmegaConf.to_container(cfg.metric))
        remedy = "choose inception, or a classifier for images like these, such as mnist"
        require(cfg.get("extractor") or not extracts, "extractor", UNSET, "missing", remedy)
    if output := cfg.output and Path(cfg.output):
        usable = output.suffix == ".json" and output.name not in ("summary.json", "profile.json")
        reason = "must be a file that ends in .json, and not a file of a run"
        require(usable and not output.is_dir(), "output", cfg.output, reason, "choose another name")


def refuse_unused_labelled(cfg: DictConfig) -> None:
    """Refuses labelled samples that no trick learns from."""
    from ganlab.core.turn import Capability  # imports torch, which other checks do not need

    tricks = [import_object(trick._target_) for trick in selected_nodes(cfg, "trick").values()]
    used = any(Capability.LABELLED_BATCH in getattr(trick, "needs", ()) for trick in tricks)
    remedy = "add a trick that learns from labelled samples, such as semi_supervised, or remove it"
    require(used, "data.labelled", cfg.data.labelled, "has no effect", remedy)


def has_encoder(cfg: DictConfig) -> bool:
    """Whether the objective trains an encoder; True if its class cannot be imported."""
    try:
        return bool(import_object(cfg.objective._target_).has_encoder())
    except Exception:  # whatever an import may raise; building the objective will report it
        return True


def selected_nodes(cfg: DictConfig, group: str) -> dict[str, DictConfig]:
    """The nodes of the selected tricks, metrics or loggers, by name.

    Raises:
        ConfigError: a node has no class, because an override has set something of an option not selected.
    """
    # metric.weights is a file for the extractor, not a metric.
    nodes = {str(name): node for name, node in cfg[group].items() if (group, name) != ("metric", "weights")}
    for name, node in nodes.items():
        complete = isinstance(node, DictConfig) and isinstance(node.get("_target_"), str)
        remedy = f"select it with +{group}={name}, or remove its settings with '~{group}.{name}'"
        require(complete, f"{group}.{name}", to_plain(node), "has settings but was not selected", remedy)
    return nodes
