"""The games of a run, played one after the other or as one: the config and the steps of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ganlab.config.compose import num_processes
from ganlab.config.overrides import has_key
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import INHERITED, NAMED_ENTRIES, OWN, to_plain, validated_settings
from ganlab.core.errors import completing_relative_keys, prefixing_all_keys, renaming_keys, require
from ganlab.core.validation import Count

if TYPE_CHECKING:
    from ganlab.data.base import Data

# The types of the settings that only stages have.
STAGE_TYPES = {"batch_size": Count, "space": dict[str, Any] | None, "pretrained": list[str]}


class Timetable:
    """The steps of a run at which each of its games is played.

    Attributes:
        steps_and_batch_sizes: a pair for each stage, and then for the main game.
        main_start: the number of steps of the run before the main game.
        total: the number of steps of the run.
    """

    def __init__(self, cfg: DictConfig):
        stages, batch_size = stages_before_main(cfg), cfg.data.batch_size
        self.keys = [*(f"stages.{name}" for name in stages), "data"]  # those that have a batch size
        self.steps_and_batch_sizes = [
            *((stage.steps, stage.get("batch_size", batch_size)) for stage in stages.values()),
            (cfg.steps, batch_size),
        ]
        self.total = sum(steps for steps, _ in self.steps_and_batch_sizes)
        self.main_start = self.total - cfg.steps
        self.num_processes = num_processes(cfg)

    def check_batches(self, data: Data) -> None:
        """Raises `ConfigError` if a batch exceeds the data, or cannot be shared among the processes."""
        for key, (_, batch_size) in zip(self.keys, self.steps_and_batch_sizes, strict=True):
            with completing_relative_keys(key):  # that of the error is ".batch_size"
                data.check_batch_size(self.num_processes, batch_size)

    def is_due(self, step: int, every: int) -> bool:
        """Whether a step of the run is in the main game, and is the last one or a multiple of `every`."""
        return step > self.main_start and (step % every == 0 or step == self.total)

    def images_seen(self, step: int) -> int:
        """The number of real images seen in the first `step` steps of the run."""
        *stages, (_, main_batch_size) = self.steps_and_batch_sizes
        seen = 0
        for steps, batch_size in stages:
            seen += min(step, steps) * batch_size
            step -= min(step, steps)
        return seen + step * main_batch_size


def stages_before_main(cfg: DictConfig) -> dict[str, Any]:
    """The stages before the main game, by name."""
    return {str(name): stage for name, stage in (cfg.get("stages") or {}).items()}


def stage_configs(cfg: DictConfig) -> Iterator[tuple[str | None, DictConfig]]:
    """The name of each game (None: the main game, the last), and its config as that of a run by itself."""
    check_stages(cfg)
    stages = stages_before_main(cfg)
    for name in stages:
        yield name, standalone_config(cfg, name)
    is_alone = not stages and cfg.get("code_of") is None
    yield None, cfg if is_alone else standalone_config(cfg, None)


def complete_stages(cfg: DictConfig) -> None:
    """Writes into a config what its stages inherit, and what depends on the space of a game, in place.

    In a saved config there are no interpolations, so the shapes of networks could not follow those of spaces.
    """
    for name, game_cfg in [*stage_configs(cfg)]:
        settings = {key: game_cfg[key] for key in INHERITED}
        if name is not None:
            settings |= {key: game_cfg[key] for key in ("steps", "code_of", "pretrained")}
            settings |= {"batch_size": game_cfg.data.batch_size, "space": game_cfg.game_space}
        for key, value in settings.items() if game_cfg is not cfg else ():
            path = key if name is None else f"stages.{name}.{key}"
            OmegaConf.update(cfg, path, value, merge=False, force_add=True)


def standalone_config(cfg: DictConfig, name: str | None) -> DictConfig:
    """The config of a stage (None: of the main game) as that of a run without stages.

    In another space than that of the data, `data.shape` and `data.range` are those of the space.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    own = OWN | ({"code_of": plain.get("code_of")} if name is None else plain["stages"][name])
    with prefixing_all_keys(None if name is None else f"stages.{name}", separator="."):
        data = data_of_space(cfg, own, plain["data"])
    if data:
        # Resolved again, because the settings of networks and tricks refer to the data.
        plain = OmegaConf.to_container(OmegaConf.merge(cfg, {"data": data}), resolve=True)
    settings = plain | {"stages": {}, "borrows": {}, "images": None, "game_space": own["space"]}
    settings |= {key: own[key] for key in ("code_of", "pretrained")}
    if name is not None:
        from ganlab.config.build import instantiate  # imports torch
        from ganlab.core.players import network_names
        from ganlab.core.randomness import derive_seed
        from ganlab.objectives.base import Objective

        stage = plain["stages"][name]
        settings |= {key: merged(plain[key], stage[key]) for key in INHERITED if key in stage}
        settings["trick"] = stage.get("trick", plain["trick"])
        with prefixing_all_keys(f"stages.{name}", separator="."):
            players = instantiate(OmegaConf.create(settings).objective, Objective).players
        for key, known in (("clip", players), ("initial", network_names(players))):
            names = {*stage.get(key, {}), *known}  # without what a player needs that the stage lacks
            settings[key] = {one: value for one, value in settings[key].items() if one in names}
        settings |= {"steps": stage["steps"], "seed": derive_seed(cfg.seed, "stage", name)}
        settings["data"]["batch_size"] = stage.get("batch_size", plain["data"]["batch_size"])
    return OmegaConf.create(settings)


def data_of_space(cfg: DictConfig, own: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The settings of the data that differ in the space of a game, which its settings `OWN` give, if any."""
    if (lender := own["code_of"]) is not None:
        model = lender_config(cfg, lender).model
        reason = "borrows its generator, which its codes are for"
        require("latent_dim" in model.generator, reason, "choose another", "code_of", lender)
        return {"shape": [model.generator.latent_dim], "range": model.encoder.get("code_range")}
    if own["space"] is None:
        return {}
    import torch  # takes seconds

    from ganlab.config.build import instantiate
    from ganlab.core.space import Space

    space: Space = instantiate(OmegaConf.create({"space": own["space"]}).space, Space)
    changes: dict[str, Any] = {"shape": [*space.shape]}
    if condition := data.get("condition"):
        blank = space.enter_condition(torch.zeros(condition["shape"]))
        changes["condition"] = condition | {"shape": [*blank.shape]}
    return changes


def borrowed_runs(cfg: DictConfig) -> dict[str, RunDirectory]:
    """The runs from which a run borrows networks, by name; a name must be that of a folder."""
    borrows = to_plain(cfg.get("borrows") or {})
    remedy = "give borrows.<name>=<run_dir>"
    require(isinstance(borrows, dict), "must be a mapping", remedy, "borrows", borrows)
    for name, path in borrows.items():
        is_name = re.fullmatch(r"\w+", str(name))
        require(is_name, "must consist of letters, digits and _", "choose another", "borrows", name)
        is_path, key = isinstance(path, str) and path, f"borrows.{name}"
        require(is_path, "must be the directory of a run", f"give {key}=<run_dir>, as text", key, path)
    trust = cfg.get("trust") or ()
    return {str(name): RunDirectory(Path(path).expanduser(), trust) for name, path in borrows.items()}


def check_stages(cfg: DictConfig) -> None:
    """Raises `ConfigError` if stages have unknown settings, or unsuitable references."""
    stages = named_configs(cfg, "stages")
    lenders = [*borrowed_runs(cfg)]  # those of the games so far
    for name, stage in stages.items():
        require("steps" in stage, "lacks steps", f"add +stages.{name}.steps=<number>", f"stages.{name}")
        require(name not in lenders, "is the name of a borrowed run too", "rename one", f"stages.{name}")
        spaces = [stage.get("space"), stage.get("code_of")]
        require(None in spaces, "gives a second space next to code_of", "remove one", f"stages.{name}.space")
        check_lender(f"stages.{name}.code_of", stage.get("code_of"), lenders, cfg)
        for pretrained in stage.get("pretrained", []):
            check_lender(f"stages.{name}.pretrained", pretrained, lenders, cfg)
        lenders.append(name)
    check_lender("code_of", cfg.get("code_of"), lenders, cfg)
    is_allowed = cfg.images is None or not stages
    require(is_allowed, "has no meaning in a run with stages", "give steps instead", "images", cfg.images)


def check_lender(key: str, name: str | None, lenders: list[str], cfg: DictConfig) -> None:
    """Raises `ConfigError` unless a name is None, or that of a borrowed run or a stage with an encoder."""
    if name is None:
        return
    remedy = f"choose from {', '.join(lenders)}, or null" if lenders else "set null"
    require(name in lenders, "must be an earlier stage or a borrowed run", remedy, key, name)
    stage = stages_before_main(cfg).get(name)
    models = [cfg.model, stage.get("model", {})] if stage is not None else [lender_config(cfg, name).model]
    remedy = "give it an autoencoder, or choose another"
    require(any("encoder" in model for model in models), "has no encoder", remedy, key, name)


def lender_config(cfg: DictConfig, name: str) -> DictConfig:
    """The config of an earlier stage or of a borrowed run."""
    if name in stages_before_main(cfg):
        return standalone_config(cfg, name)
    with prefixing_all_keys(f"borrows.{name}"):
        return borrowed_runs(cfg)[name].config()


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
