"""How each game of a run is played: its play, its optimisers and its length."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from omegaconf import DictConfig
from torch import nn

from ganlab.config.build import instantiate
from ganlab.config.compose import num_processes
from ganlab.config.load import naming_stage
from ganlab.config.parts import naming_part, part_configs
from ganlab.config.stages import stage_configs
from ganlab.core.errors import require
from ganlab.core.players import Player, network_names, path
from ganlab.game import Game
from ganlab.games import Playable, RunGames
from ganlab.networks.norms import DifferentiableBatchNorm


@dataclass(frozen=True)
class PhaseSettings:
    """How one game of a run is played.

    Attributes:
        name: the name of the stage; empty for the main game.
        game: the game, or several that are played as one.
        play: the order of the updates in a step.
        make_optimizer: for each player a function that makes the optimiser of its weights; in a composite of
            games, for each player of each part, such as "ab/generator".
        clip: the largest norm of the gradient, with the same keys; None: not clipped.
        steps: the number of steps.
        seed: the seed of the run.
        compile: whether the players are compiled.
        initialise: copies weights of earlier stages into the game before its first step; None: nothing does.
        naming: returns a context that completes the keys of errors about this game.
    """

    name: str
    game: Playable
    play: Any
    make_optimizer: Mapping[Player, Any]
    clip: Mapping[Player, Any]
    steps: int
    seed: int
    compile: bool
    initialise: Callable[[], None] | None
    naming: Callable[[], AbstractContextManager[None]]


def phase_settings(cfg: DictConfig, games: RunGames, play_class: type = object) -> Iterator[PhaseSettings]:
    """How the games of a run are played, in this order; `play_class` is the base class of all plays.

    Raises:
        ConfigError: a player has no optimiser, or a setting does not suit its game.
    """
    for stage, game_cfg in stage_configs(cfg):
        name, naming = stage or "", partial(naming_stage, stage, game_cfg)
        with naming():
            make_optimizer, clip = player_settings(game_cfg, games.playables[name])
            play = instantiate(game_cfg.play, play_class)
        yield PhaseSettings(
            name=name,
            game=games.playables[name],
            play=play,
            make_optimizer=make_optimizer,
            clip=clip,
            steps=game_cfg.steps,
            seed=cfg.seed,
            compile=cfg.compile,
            initialise=games.initialisers.get(name),
            naming=naming,
        )


def player_settings(cfg: DictConfig, game: Playable) -> tuple[dict[Player, Any], dict[Player, Any]]:
    """The functions that make the optimisers, and the clipping, see `PhaseSettings`."""
    optimizers: dict[Player, Any] = {}
    clip: dict[Player, Any] = {}
    for part_name, part_cfg in part_configs(cfg).items():
        part = game.parts[part_name]
        with naming_part(cfg, part_name):
            refuse_settings_of_untrained_networks(part_cfg, part)
            refuse_single_samples(part_cfg, part)
            for player in part.players:
                has_optimizer = player in part_cfg.optimizer
                remedy = "add it to a config file, or choose the model's optimizer"
                require(has_optimizer, "is needed by the objective", remedy, f"optimizer.{player}")
        clips = dict.fromkeys(part.players) | instantiate(part_cfg.clip)  # None: no clipping
        for of_players, values in ((optimizers, instantiate(part_cfg.optimizer)), (clip, clips)):
            of_players |= {path(part_name, player): value for player, value in values.items()}
    return optimizers, clip


def refuse_settings_of_untrained_networks(cfg: DictConfig, game: Game) -> None:
    """Refuses gradient clipping and initialisers for networks that the objective does not train."""
    trained = {"clip": [*game.players], "initial": network_names(game.players)}
    for setting, names in trained.items():
        for player, value in cfg[setting].items():
            # The config lists all networks, so one that is not trained may be there without a value.
            allowed = player in names or value in (None, [])
            require(allowed, f"this objective trains no {player}", "remove it", f"{setting}.{player}", value)


def refuse_single_samples(cfg: DictConfig, game: Game) -> None:
    """Refuses one sample for each process if the game has a batch norm that cannot normalise one sample."""
    processes = num_processes(cfg)
    # With several processes, a DifferentiableBatchNorm normalises the global batch, which has more samples.
    norms = (nn.BatchNorm1d, DifferentiableBatchNorm) if processes == 1 else (nn.BatchNorm1d,)
    normalises = any(isinstance(layer, norms) for layer in game.modules())
    allowed = cfg.data.batch_size != processes or not normalises
    reason = "leaves each process one sample, which batch norm cannot normalise"
    remedy = "raise it, or set model.generator.batch_norm=false"
    require(allowed, reason, remedy, "data.batch_size", cfg.data.batch_size)
