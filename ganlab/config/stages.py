"""A run as a sequence of games: the config of each game, and the steps at which it is played."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ganlab.config.compose import num_processes
from ganlab.config.parts import merged, named_configs
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import INHERITED, OWN, to_plain
from ganlab.core.errors import completing_relative_keys, prefixing_all_keys, require

if TYPE_CHECKING:
    from ganlab.data.base import Data


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
