"""Checks of a config before anything is built: unknown settings, wrong kinds, settings without effect."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from ganlab.config.compose import num_steps
from ganlab.config.kinds import check_arguments, check_kinds, import_object
from ganlab.config.stages import stage_configs
from ganlab.core.errors import ConfigError, within

OURS = ("accelerator", "devices", "num_nodes", "precision", "strategy", "sync_batchnorm")
TRAINER = {"_target_", "_partial_", *OURS}


def check_config(cfg: DictConfig) -> None:
    """Refuses values of a wrong kind, or out of a range that no constructor checks, in every stage."""
    for name, own in stage_configs(check_kinds(cfg)):
        with within(name and f"stages.{name}", "."):
            check_arguments(check_kinds(own))
            check_game(own)


def check_game(cfg: DictConfig) -> None:
    for group in ("model", "optimizer", "logger"):
        for name, node in cfg[group].items():
            if not isinstance(node, DictConfig):
                raise ConfigError(
                    f"{group}.{name}={node} must be a mapping, with a _target_ and its settings"
                )
    selected_nodes(cfg, "logger")
    for name in ("resume", "init_from", "run_dir"):
        if cfg[name] == "":
            raise ConfigError(f"{name}= is empty: give a directory, or leave it out")
    if cfg.images is not None and cfg.steps != num_steps(cfg.images, cfg.data.batch_size, cfg.default_steps):
        raise ConfigError(f"images={cfg.images} and steps={cfg.steps} disagree: give one of them")
    for name in set(cfg.trainer) - TRAINER:
        raise ConfigError(f"trainer.{name} is not supported; remove it (known: {', '.join(sorted(TRAINER))})")
    # A game on codes builds the networks of its objective only: the others keep the shape of the data.
    for player in cfg.objective.weight if cfg.get("code_of") else cfg.model:
        shape = OmegaConf.select(cfg, f"model.{player}.shape", default=cfg.data.shape)
        if list(shape) != list(cfg.data.shape):
            raise ConfigError(
                f"model.{player}.shape={shape} contradicts data.shape={cfg.data.shape}: set the latter"
            )
    value_range = OmegaConf.select(cfg, "model.generator.value_range", default=cfg.data.range)
    if value_range != cfg.data.range:
        raise ConfigError(
            f"model.generator.value_range={value_range} contradicts data.range={cfg.data.range}: "
            "set the latter"
        )
    if cfg.trainer.devices > 1 and "strategy" not in cfg.trainer:
        raise ConfigError(f"trainer.devices={cfg.trainer.devices} also needs trainer=ddp")


def refuse_unused_settings(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuses settings of networks, data and extractors that this game would ignore."""
    unused = [] if "discriminator" in cfg.objective.weight else ["discriminator"]
    # A resume keeps the saved objective; `training.resume` compares the overrides with it.
    unused += [] if cfg.resume or has_encoder(cfg) else ["encoder"]
    for override in overrides:
        for name in unused:
            if override.lstrip("+").startswith((f"model.{name}", f"optimizer.{name}")):
                raise ConfigError(f"{override} would do nothing: this objective has no {name}; leave it out")
        if override.startswith("data.labelled=") and cfg.data.labelled and not cfg.resume:
            refuse_unused_labelled(cfg)
    if not cfg.resume:
        refuse_unused_extractor(cfg, overrides)
        refuse_unused_weights(cfg)


def refuse_unused_extractor(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuses an extractor that no metric and no view uses."""
    given = {override.lstrip("+~").split("=")[0] for override in overrides}
    views = (view for view in cfg.get("views") or [] if isinstance(view, DictConfig))
    looked = any(view.get("space") == "features" for view in views)
    if "extractor" in given and not looked and "${extractor}" not in str(OmegaConf.to_container(cfg.metric)):
        raise ConfigError(
            "extractor has no effect: no metric uses it; add one, such as metric=fid, or leave it out"
        )


def refuse_unused_weights(cfg: DictConfig) -> None:
    """Refuses a file of weights that no extractor reads."""
    weights = cfg.metric.get("weights")
    if weights is not None and "weights" not in (cfg.get("extractor") or {}):
        raise ConfigError(
            f"metric.weights={weights} would do nothing: they are for extractor=inception; add it, or leave "
            "them out"
        )


def refuse_unused_labelled(cfg: DictConfig) -> None:
    """Refuses labelled samples that no trick learns from."""
    from ganlab.core.turn import Capability  # imports torch, which other refusals need not wait for

    tricks = [import_object(trick._target_) for trick in selected_nodes(cfg, "trick").values()]
    if not any(Capability.LABELLED_BATCH in getattr(trick, "needs", ()) for trick in tricks):
        raise ConfigError(
            f"data.labelled={cfg.data.labelled} would do nothing: add a trick that learns from labelled "
            "samples, such as semi_supervised, or leave it out"
        )


def has_encoder(cfg: DictConfig) -> bool:
    """Whether the objective trains an encoder. True if its class cannot be imported: `build` reports that."""
    try:
        return bool(import_object(cfg.objective._target_).num_statistics)
    except Exception:  # whatever an import may raise
        return True


def selected_nodes(cfg: DictConfig, group: str) -> dict[str, DictConfig]:
    """The selected tricks, metrics or loggers. Refuses one that has settings but no class."""
    chosen = {str(name): node for name, node in cfg[group].items() if (group, name) != ("metric", "weights")}
    for name, node in chosen.items():
        if not isinstance(node, DictConfig) or not isinstance(node.get("_target_"), str):
            raise ConfigError(
                f"{group}.{name} has values but was not selected: add it with +{group}={name}, or drop its "
                f"values with '~{group}.{name}'"
            )
    return chosen
