"""Builds the module of a run from its config, and loads weights into it."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.config.build import as_config_errors, build_game, instantiate
from ganlab.config.compose import num_processes
from ganlab.config.overrides import shell_override
from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import stage_configs
from ganlab.core.errors import ConfigError, prefixing_all_keys, require
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.networks.autoencoder import pretrained_initialiser
from ganlab.networks.norms import ElementaryNorm
from ganlab.training.module import GameModule, Stage
from ganlab.training.play import Play
from ganlab.tricks.gradient_regulariser import GradientRegulariser

NETWORK_NAMES = ("discriminator", "generator", "encoder")  # the keys that clip and initial may have


def build(cfg: DictConfig, data: Data | None = None) -> GameModule:
    """The module of a run, with all of its stages.

    Args:
        cfg: the config of the run.
        data: as in `build_game`.

    Raises:
        ConfigError: as in `build_game`; or a value of an optimiser is out of its range.
    """
    if cfg.compile:
        torch._dynamo.reset()  # forgets what the previous job of a sweep has compiled
    stages: list[Stage] = []
    for name, game_cfg in stage_configs(cfg):
        earlier = {stage.name: stage.game for stage in stages}
        with prefixing_all_keys(name and f"stages.{name}", separator="."), as_config_errors():
            stages.append(build_stage(game_cfg, data, earlier, name=name, seed=cfg.seed))
    with as_config_errors():
        return GameModule(stages)


def build_stage(
    cfg: DictConfig, data: Data | None, earlier: Mapping[str, Game], *, name: str | None, seed: int
) -> Stage:
    """A stage of a run, or the main game.

    Args:
        cfg: the config of the game of this stage.
        earlier: the games of the stages before this one, by name.
        name: the name of the stage; None: the main game.
        seed: the seed of the run.
    """
    game = build_game(cfg, data, earlier[cfg.code_of] if cfg.get("code_of") else None)
    trained = {*game.players, *(["encoder"] if game.objective.has_encoder() else [])}
    for setting in ("clip", "initial"):
        for player, value in cfg[setting].items():
            unset = player in NETWORK_NAMES and value in (None, [])  # a misspelt name is refused in any case
            reason = f"this objective trains no {player}"
            require(player in trained or unset, f"{setting}.{player}", value, reason, "remove it")
    refuse_single_rows(cfg, game)
    if data is not None:
        warn_of_batch_norm(game)
    if cfg.compile:
        game.compile()
    play = instantiate(cfg.play, Play)
    per_player = {"optimizers": instantiate(cfg.optimizer), "clip": instantiate(cfg.clip)}
    if name is None:
        return Stage(game, play, **per_player, seed=seed)
    copy_pretrained = pretrained_initialiser(
        game.generator, [earlier[part].generator for part in cfg.pretrained]
    )

    def prepare() -> None:
        copy_pretrained()
        game.on_weights_loaded()

    return Stage(game, play, **per_player, seed=seed, name=name, steps=cfg.steps, prepare=prepare)


def refuse_single_rows(cfg: DictConfig, game: Game) -> None:
    """Refuses a batch of one row on each process if a batch norm of vectors would have only that row."""
    processes = num_processes(cfg)
    # In a run of several processes ElementaryNorm is synchronised.
    norms = (nn.BatchNorm1d, ElementaryNorm) if processes == 1 else nn.BatchNorm1d
    single = cfg.data.batch_size == processes and any(isinstance(layer, norms) for layer in game.modules())
    reason = "leaves each process one sample, which batch norm cannot normalise"
    remedy = "raise it, or set model.generator.batch_norm=false"
    require(not single, "data.batch_size", cfg.data.batch_size, reason, remedy)


@rank_zero_only
def warn_of_batch_norm(game: Game) -> None:
    """Warns if a gradient penalty acts per sample, but batch norm couples the samples of a batch."""
    names = [name for name, trick in game.tricks.items() if isinstance(trick, GradientRegulariser)]
    layers = () if game.discriminator is None else game.discriminator.modules()
    if names and any(isinstance(layer, _BatchNorm) for layer in layers):
        print(
            f"{', '.join(names)}: the discriminator has batch norm, so the gradient at a sample depends on "
            "its whole batch; trick=normalisation removes it",
            file=sys.stderr,
        )


def load(
    run_dir: str | Path, checkpoint: str | None = None, trust: Iterable[str] = (), device: str = "cpu"
) -> Game:
    """The trained game of a run, in evaluation mode; reads no data.

    Args:
        run_dir: a run directory, or one of its checkpoints.
        checkpoint: last, previous or best, or a path; None: the one that run_dir names, or the last.
        trust: packages, in addition to ganlab, from which the config may build objects.

    Raises:
        ConfigError: the directory is not a run or has no readable checkpoint, or the config names classes
            outside of the trusted packages.
    """
    run = RunDirectory(run_dir, trust)
    module = build(run.config())
    _, content = run.checkpoint(checkpoint)
    load_weights(module, content)
    game = module.game
    reason = f"stopped after {game.step} of the {game.first_step} steps before its generator learns"
    # With earlier stages, the generator of the main game is untrained until they end.
    is_trained = not game.first_step or game.step > game.first_step
    require(is_trained, "run_dir", run_dir, reason, f"continue it: {shell_override('resume', run.path)}")
    module.to(device).eval()
    return game


def init_from(module: GameModule, checkpoint: dict[str, Any]) -> None:
    """Loads the weights of the players only; the step and the states of the tricks stay those of a new run.

    Raises:
        ConfigError: the weights do not fit the networks.
    """
    for name, game in module.named_modules():
        if isinstance(game, Game):
            for player in game.players:
                load_weights(getattr(game, player), checkpoint, f"{name}.{player}.")
            game.on_weights_loaded()


def load_weights(module: nn.Module, checkpoint: dict[str, Any], prefix: str = "") -> None:
    """Loads the entries of a checkpoint whose names begin with a prefix.

    Raises:
        ConfigError: the entries do not fit the module.
    """
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    module_state = module.state_dict()
    try:
        for name, value in state.items():
            expected = module_state.get(name, value)
            if torch.is_tensor(value) and value.is_floating_point() != expected.is_floating_point():
                raise TypeError(f"{name} is of {value.dtype}")
        module.load_state_dict(state)
    except Exception as error:  # a layer may raise anything about a state that does not fit
        # torch lists the differences on the lines below the first.
        lines = [line.strip().rstrip(".") for line in str(error).splitlines()]
        raise ConfigError(f"these weights belong to another game: {''.join(lines[1:2] or lines)}") from error
