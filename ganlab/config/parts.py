"""The games that are played as one, from the settings `games` and `bridge` of a config."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab.config.overrides import has_key
from ganlab.config.setting_types import NAMED_ENTRIES, STAGE_TYPES, to_plain, validated_settings
from ganlab.core.errors import prefixing_all_keys, renaming_keys, require


def named_configs(cfg: DictConfig, setting: str) -> dict[str, DictConfig]:
    """The mappings in the setting `games` or `stages`, by name, after a check of names, keys and types."""
    keys, needed = NAMED_ENTRIES[setting], "{steps: 1000}" if setting == "stages" else "{}"
    configs: Any = cfg.get(setting) or {}
    remedy = f"give {setting}={{a: {needed}}}"
    require(isinstance(configs, dict | DictConfig), "must be a mapping", remedy, setting, configs)
    for name, node in configs.items():
        from torch.nn import ModuleDict  # takes seconds

        key = f"{setting}.{name}"
        is_name = isinstance(name, str) and name.isidentifier() and name not in dir(ModuleDict())
        reason = "is not a name, or is one of torch's own"
        require(is_name, reason, "choose another of letters, digits and _", key)
        remedy = f"give {setting}={{{name}: {needed}}}"
        require(isinstance(node, DictConfig), "must be a mapping", remedy, key, node)
        unknown = sorted({*map(str, node)} - {*keys})
        require(not unknown, f"has {', '.join(unknown)}", f"give only {', '.join(keys)}", key)
        for group in filter(node.__contains__, ("objective", "optimizer", "play", "trick")):
            remedy = f"choose an option with +{group}@{key}.{group}=<name>"
            is_mapping, value = isinstance(node[group], DictConfig), to_plain(node[group])
            require(is_mapping, "must be a mapping", remedy, f"{key}.{group}", value)
        with prefixing_all_keys(key, separator="."):
            validated_settings(node, further_types=STAGE_TYPES)
    return dict(configs)


def part_configs(cfg: DictConfig) -> dict[str, DictConfig]:
    """The config of each part of a composite of games, by name; of a game alone, its own, without a name.

    A part has the settings of the config, except those that `games.<name>` gives, and a seed of its own. It
    lacks a trick of the config that is null there. Its data differ from those of the config in how they are
    seen only, since all parts share each batch.
    """
    from ganlab.core.randomness import derive_seed  # imports torch

    games, bridge = named_configs(cfg, "games"), cfg.get("bridge")
    reason = "needs a bridge and games, such as games={ab: {}, ba: {}}"
    require(bool(games) == (bridge is not None), reason, "choose model=cyclegan", "games", [*games])
    if not games:
        return {"": cfg}
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    del resolved["games"], resolved["bridge"]
    parts: dict[str, Any] = {}
    for name, part in games.items():
        # References inside a setting, such as ${data.shape}, are to the settings of the part.
        own: Any = {key: OmegaConf.to_container(part[key]) for key in part}
        settings = merged(resolved, own) | {"seed": derive_seed(cfg.seed, "game", name)}
        tricks, inherited = settings["trick"].items(), resolved["trick"]
        settings["trick"] = {key: value for key, value in tricks if value is not None or key not in inherited}
        parts[name] = OmegaConf.create(settings)
        same = parts[name].data.batch_size == resolved["data"]["batch_size"]
        require(same, "is the same for all parts", "set data.batch_size", f"games.{name}.data.batch_size")
    return parts


def merged(base: Any, changes: Any) -> Any:
    """A node of a config with some changes; changes that name another object replace the node."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    for key in ("_target_", "borrowed"):
        if key in changes and changes[key] != base.get(key):
            return changes
    return base | {key: merged(base.get(key), value) for key, value in changes.items()}


def naming_part(cfg: DictConfig, name: str) -> AbstractContextManager[None]:
    """Prepends the name of a part to the keys of errors, except to those of settings that it inherits."""
    if not name:
        return nullcontext()
    return renaming_keys(lambda key: typed_key(cfg, f"games.{name}.{key.lstrip('.')}".rstrip(".")))


def typed_key(cfg: DictConfig, key: str) -> str:
    """The key of a part's setting as it was typed: games.ba.clip, or clip if the part inherits it."""
    *_, inherited = key.split(".", 2)
    is_inherited = key.startswith("games.") and has_key(cfg, inherited) and not has_key(cfg, key)
    return inherited if is_inherited else key
