"""A run as a list of games: the config of each of them, and when it is played."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import ConfigError, completing

if TYPE_CHECKING:
    from ganlab.data.base import Data

# What a stage has of its own; all else it shares with the run.
KEYS = (
    "steps", "batch_size", "code_of", "pretrained",
    "objective", "model", "initial", "optimizer", "play", "trick", "clip",
)  # fmt: skip


class Timetable:
    """When which game is played, in rounds of the run.

    Args:
        cfg: of a run.
    """

    def __init__(self, cfg: DictConfig):
        stages = earlier(cfg)
        self.names = [*stages, None]
        self.phases = [(stage.steps, stage.batch_size) for stage in stages.values()]
        self.begins = sum(rounds for rounds, _ in self.phases)  # of the game that the run is about
        self.total = self.begins + cfg.steps
        self.phases.append((cfg.steps, cfg.data.batch_size))  # rounds and batch size of each

    def share(self, data: Data, world_size: int) -> None:
        """Refuses batches that the data cannot give, or so many processes cannot share."""
        for name, (_, batch_size) in zip(self.names, self.phases, strict=True):
            with completing(f"stages.{name}" if name else "data"):
                data.check_batch_size(world_size, batch_size)

    def images(self, step: int) -> int:
        """How many real images were seen in so many rounds."""
        seen = 0
        for i, (rounds, batch_size) in enumerate(self.phases):
            played = step if i == len(self.phases) - 1 else min(step, rounds)
            seen += played * batch_size
            step -= played
        return seen


def earlier(cfg: DictConfig) -> dict[str, Any]:
    """The stages before the game itself, by name."""
    return {str(name): stage for name, stage in (cfg.get("stages") or {}).items()}


def stage_configs(cfg: DictConfig) -> Iterator[tuple[str | None, DictConfig]]:
    """The config of each game, as if it were a run of its own; the last, None, is the game itself.

    Raises:
        ConfigError: a stage lacks a setting or has an unknown one, or plays in the code of none before it.
    """
    names = list(earlier(cfg))
    refuse_unknown(cfg)
    if not names:
        yield None, cfg
        return
    from ganlab.core.randomness import fold

    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    for name in names:
        stage = resolved["stages"][name]
        data = resolved["data"] | {"batch_size": stage.pop("batch_size")}
        own = resolved | stage | {"data": data, "seed": fold(cfg.seed, "stage", name)}
        yield name, alone(own, resolved["stages"])
    yield None, alone(resolved, resolved["stages"])


def alone(own: dict[str, Any], stages: dict[str, Any]) -> DictConfig:
    """A game's config, whose data are codes where it is played in these."""
    if own["code_of"] is not None:
        host = stages[own["code_of"]]["model"]
        facts = {"shape": [host["generator"]["latent_dim"]], "range": host["encoder"].get("code_range")}
        own = own | {"data": own["data"] | facts}
    return OmegaConf.create(own | {"stages": {}, "images": None})


def refuse_unknown(cfg: DictConfig) -> None:
    """Refuses stages that cannot be read as such."""
    stages = earlier(cfg)
    for i, (name, stage) in enumerate(stages.items()):
        given = set(stage) if isinstance(stage, DictConfig) else set()
        if differ := sorted(given ^ {*KEYS}):
            wrong = ", ".join(f"{'has' if key in given else 'lacks'} {key}" for key in differ)
            raise ConfigError(f"stages.{name} {wrong}: it needs {', '.join(KEYS)} and no more")
        refuse_code(f"stages.{name}.code_of", stage.code_of, list(stages)[:i], stages)
        for part in stage.pretrained:
            refuse_code(f"stages.{name}.pretrained", part, list(stages)[:i], stages)
    refuse_code("code_of", cfg.get("code_of"), list(stages), stages)
    if stages and cfg.images is not None:
        raise ConfigError(
            f"images={cfg.images}, but the stages of this run are counted in rounds: give steps instead"
        )


def refuse_code(key: str, name: str | None, known: list[str], stages: dict[str, Any]) -> None:
    """Refuses to play in the code of a game that is not played before, or makes none."""
    if name is None:
        return
    if name not in known:
        raise ConfigError(
            f"{key}={name} must be a stage before it ({', '.join(known) or 'there is none'}), or null"
        )
    if "encoder" not in stages[name].model:
        raise ConfigError(
            f"{key}={name}, but that stage has no encoder: give it an autoencoder, or choose another"
        )
