"""The games that are played as one, from the settings `games` and `bridge` of a config."""

from contextlib import AbstractContextManager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import prefixing_all_keys, require

# The settings in which a part may differ from the rest of the config.
PART_KEYS = ("data", "objective", "model", "initial", "optimizer", "trick", "clip")


def part_configs(cfg: DictConfig) -> dict[str, DictConfig]:
    """The config of each part of a composite of games, by name; of a game alone, its own, without a name.

    A part has the settings of the config, except those that `games.<name>` gives, and a seed of its own. Its
    data differ from those of the config in how they are seen only, since all parts share each batch.

    Raises:
        ConfigError: a name cannot be one, a part has an unknown setting, or there is no bridge.
    """
    from ganlab.core.randomness import derive_seed  # imports torch

    games, bridge = cfg.get("games") or {}, cfg.get("bridge")
    require(isinstance(games, dict | DictConfig), "must be a mapping", "give {<part>: {}}", "games", games)
    reason = "needs a bridge and games, such as games={ab: {}, ba: {}}"
    require(bool(games) == (bridge is not None), reason, "choose model=cyclegan", "games", [*games])
    if not games:
        return {"": cfg}
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    del resolved["games"], resolved["bridge"]
    parts: dict[str, Any] = {}
    for name, part in games.items():
        key = f"games.{name}"
        require(str(name).isidentifier(), "is not a name", "use letters, digits and _", key)
        require(isinstance(part, DictConfig), "must be a mapping", f"give {key}={{}}", key, part)
        unknown = sorted(set(part) - set(PART_KEYS))
        require(not unknown, f"has {', '.join(unknown)}", f"give only {', '.join(PART_KEYS)}", key)
        parts[str(name)] = OmegaConf.merge(resolved, part, {"seed": derive_seed(cfg.seed, "game", name)})
        same = parts[str(name)].data.batch_size == resolved["data"]["batch_size"]
        require(same, "is the same for all parts", "set data.batch_size", f"{key}.data.batch_size")
    return parts


def naming_part(cfg: DictConfig, name: str) -> AbstractContextManager[None]:
    """Prepends the name of a part to the keys of errors, if the part has settings of its own."""
    own = name and cfg.games[name]
    return prefixing_all_keys(f"games.{name}" if own else None, separator=".")
