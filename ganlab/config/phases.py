"""How each game of a run is played: its play, its optimisers and its length."""

from typing import Any

from omegaconf import DictConfig
from torch import nn

from ganlab.config.build import instantiate
from ganlab.config.compose import num_processes
from ganlab.config.load import naming_stage
from ganlab.config.stages import naming_part, part_configs, stage_configs
from ganlab.core.errors import require
from ganlab.core.players import Player, network_names, path
from ganlab.game import Game
from ganlab.games import Playable, RunGames
from ganlab.networks.norms import DifferentiableBatchNorm


def build_phases(cfg: DictConfig, games: RunGames, make: Any, play_class: type = object) -> list[Any]:
    """What plays the games of a run, in this order: the results of `make`, which is the class `Phase`.

    Args:
        games: the games of this config.
        make: what gets a game, its play, its optimisers and their clipping, the seed of the run, the name of
            the stage, its steps, and what copies weights into the game before its first step.
        play_class: the base class of all plays.

    Raises:
        ConfigError: a player has no optimiser, or a setting does not suit its game.
    """
    phases = []
    for stage, game_cfg in stage_configs(cfg):
        name = stage or ""
        game, initialise = games.playables[name], games.initialisers.get(name)
        with naming_stage(stage, game_cfg):
            optimizers, clip = player_settings(game_cfg, game)
            play = instantiate(game_cfg.play, play_class)
            phases.append(make(game, play, optimizers, clip, cfg.seed, name, game_cfg.steps, initialise))
    return phases


def player_settings(cfg: DictConfig, game: Playable) -> tuple[dict[Player, Any], dict[Player, Any]]:
    """The functions that make the optimisers of all players, and the clipping of their gradients.

    The keys are the players; in a composite of games, the players of each part, such as "ab/generator".
    """
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
        if cfg.compile:
            part.compile()
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
