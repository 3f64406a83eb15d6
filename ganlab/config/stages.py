"""A run as a sequence of games: the config of each game, and the steps at which it is played."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ganlab.config.compose import num_processes
from ganlab.core.errors import completing_relative_keys, require

if TYPE_CHECKING:
    from ganlab.data.base import Data

# The settings that each stage has; it shares all others with the run. `code_of` names an earlier stage, whose
# encoder encodes the data of this one. `pretrained` lists earlier stages, each a shallow autoencoder, whose
# layers are copied into the autoencoder of this stage before it is trained.
STAGE_KEYS = (
    "steps", "batch_size", "code_of", "pretrained",
    "objective", "model", "initial", "optimizer", "play", "trick", "clip",
)  # fmt: skip


class Timetable:
    """The steps of a run at which each of its games is played.

    Args:
        cfg: the config of a run.

    Attributes:
        names: the names of the stages, then None for the main game.
        steps_and_batch_sizes: a pair for each game, in the order of `names`.
        main_start: the number of steps of the run before the main game.
        total: the number of steps of the run.
    """

    def __init__(self, cfg: DictConfig):
        stages = stages_before_main(cfg)
        self.names = [*stages, None]
        self.steps_and_batch_sizes = [(stage.steps, stage.batch_size) for stage in stages.values()]
        self.main_start = sum(steps for steps, _ in self.steps_and_batch_sizes)
        self.total = self.main_start + cfg.steps
        self.steps_and_batch_sizes.append((cfg.steps, cfg.data.batch_size))
        self.num_processes = num_processes(cfg)

    def check_batches(self, data: Data) -> None:
        """Raises `ConfigError` if a batch exceeds the data, or cannot be shared among the processes."""
        for name, (_, batch_size) in zip(self.names, self.steps_and_batch_sizes, strict=True):
            # The error has the key ".batch_size", and becomes one about stages.NAME.batch_size, for example.
            with completing_relative_keys(f"stages.{name}" if name else "data"):
                data.check_batch_size(self.num_processes, batch_size)

    def is_due(self, step: int, every: int) -> bool:
        """Whether a step of the run is in the main game, and is the last one or a multiple of `every`."""
        return step > self.main_start and (step % every == 0 or step == self.total)

    def images_seen(self, step: int) -> int:
        """The number of real images seen in the first `step` steps of the run."""
        *stages, (_, main_batch_size) = self.steps_and_batch_sizes
        seen, remaining_steps = 0, step
        for steps, batch_size in stages:
            seen += min(remaining_steps, steps) * batch_size
            remaining_steps -= min(remaining_steps, steps)
        return seen + remaining_steps * main_batch_size


def stages_before_main(cfg: DictConfig) -> dict[str, Any]:
    """The stages before the main game, by name."""
    return {str(name): stage for name, stage in (cfg.get("stages") or {}).items()}


def stage_configs(cfg: DictConfig) -> Iterator[tuple[str | None, DictConfig]]:
    """The name of each game (None: the main game, the last), and its config, as if it were a run by itself.

    Raises:
        ConfigError: a stage lacks a setting, has an unknown one, or refers to a stage that it cannot use.
    """
    stages = stages_before_main(cfg)
    check_stages(cfg, stages)
    if not stages:
        yield None, cfg
        return
    from ganlab.core.randomness import derive_seed  # imports torch

    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    for name in stages:
        stage = resolved["stages"][name]
        data = resolved["data"] | {"batch_size": stage.pop("batch_size")}
        settings = resolved | stage | {"data": data, "seed": derive_seed(cfg.seed, "stage", name)}
        yield name, standalone_config(settings, resolved["stages"])
    yield None, standalone_config(resolved, resolved["stages"])


def standalone_config(settings: dict[str, Any], stages: dict[str, Any]) -> DictConfig:
    """The config of a game without stages.

    If `code_of` names a stage, the data are the codes of its encoder. A code has the shape of a latent.
    """
    if settings["code_of"] is not None:
        model = stages[settings["code_of"]]["model"]
        codes = {"shape": [model["generator"]["latent_dim"]], "range": model["encoder"].get("code_range")}
        settings = settings | {"data": settings["data"] | codes}
    return OmegaConf.create(settings | {"stages": {}, "images": None})


def check_stages(cfg: DictConfig, stages: dict[str, Any]) -> None:
    """Raises `ConfigError` if stages have settings other than `STAGE_KEYS`, or unsuitable references."""
    earlier: list[str] = []
    for name, stage in stages.items():
        keys = set(stage) if isinstance(stage, DictConfig) else set()
        mistakes = [f"lacks {key}" for key in STAGE_KEYS if key not in keys]
        mistakes += [f"has {key}" for key in sorted(keys) if key not in STAGE_KEYS]
        remedy = f"give {', '.join(STAGE_KEYS)} and nothing else"
        require(not mistakes, ", ".join(mistakes), remedy, f"stages.{name}")
        check_reference(f"stages.{name}.code_of", stage.code_of, earlier, stages)
        for pretrained in stage.pretrained:
            check_reference(f"stages.{name}.pretrained", pretrained, earlier, stages)
        earlier.append(name)
    check_reference("code_of", cfg.get("code_of"), earlier, stages)
    is_allowed = cfg.images is None or not stages
    require(is_allowed, "has no meaning in a run with stages", "give steps instead", "images", cfg.images)


def check_reference(key: str, name: str | None, earlier: list[str], stages: dict[str, Any]) -> None:
    """Raises `ConfigError` unless the name is None or that of an earlier stage with an encoder."""
    if name is not None:
        remedy = f"choose from {', '.join(earlier)}, or null" if earlier else "set null"
        require(name in earlier, "must be an earlier stage", remedy, key, name)
        remedy = "give this stage an autoencoder, or choose another"
        require("encoder" in stages[name].model, "refers to a stage without an encoder", remedy, key, name)
