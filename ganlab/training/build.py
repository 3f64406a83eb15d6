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

from ganlab.config.build import NETWORK_NAMES, as_config_errors, build_game, instantiate, num_processes
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


def build(cfg: DictConfig, data: Data | None = None) -> GameModule:
    """The module of a run, with all of its stages; data as in `build_game`.

    Raises:
        ConfigError: as `build_game`; or a value of an optimiser is out of its range.
    """
    if cfg.compile:
        torch._dynamo.reset()  # forgets what the previous job of a sweep has compiled
    stages: list[Stage] = []
    for name, own in stage_configs(cfg):
        with prefixing_all_keys(name and f"stages.{name}", joint="."), as_config_errors():
            stages.append(
                build_stage(own, data, {stage.name: stage.game for stage in stages}, cfg.seed, name)
            )
    with as_config_errors():
        return GameModule(stages)


def build_stage(
    cfg: DictConfig, data: Data | None, earlier: Mapping[str, Game], seed: int, name: str | None
) -> Stage:
    """A stage by its own config; `earlier` are the games of the stages before it, by name."""
    game = build_game(cfg, data, earlier[cfg.code_of] if cfg.get("code_of") else None)
    trained = {*game.players, *(["encoder"] if game.objective.has_encoder() else [])}
    for setting in ("clip", "initial"):
        for player, value in cfg[setting].items():
            unset = player in NETWORK_NAMES and value in (None, [])
            reason = f"this objective trains no {player}"
            require(player in trained or unset, f"{setting}.{player}", value, reason, "remove it")
    refuse_single_rows(cfg, game)
    if data is not None:
        warn_of_batch_norm(game)
    if cfg.compile:
        game.compile()
    play, optimizers, clip = instantiate(cfg.play, Play), instantiate(cfg.optimizer), instantiate(cfg.clip)
    if name is None:
        return Stage(game, play, optimizers, clip, seed)
    copy_pretrained = pretrained_initialiser(
        game.generator, [earlier[part].generator for part in cfg.pretrained]
    )

    def prepare() -> None:
        copy_pretrained()
        game.on_weights_loaded()

    return Stage(game, play, optimizers, clip, seed, name, cfg.steps, prepare)


def refuse_single_rows(cfg: DictConfig, game: Game) -> None:
    """Refuses a batch of one row on each process if a batch norm of vectors would have only that row."""
    processes = num_processes(cfg)
    # ElementaryNorm averages over all processes.
    norms = (nn.BatchNorm1d, ElementaryNorm) if processes == 1 else nn.BatchNorm1d
    single = cfg.data.batch_size == processes and any(isinstance(layer, norms) for layer in game.modules())
    reason = "leaves each process one sample, which batch norm cannot normalise"
    remedy = "raise it, or set model.generator.batch_norm=false"
    require(not single, "data.batch_size", cfg.data.batch_size, reason, remedy)


@rank_zero_only
def warn_of_batch_norm(game: Game) -> None:
    """Warns if a gradient penalty acts per sample, but batch norm couples the samples of a batch."""
    critic = game.discriminator
    names = [name for name, trick in game.tricks.items() if isinstance(trick, GradientRegulariser)]
    if names and critic is not None and any(isinstance(layer, _BatchNorm) for layer in critic.modules()):
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
        trust: further packages from which its config may build objects.

    Raises:
        ConfigError: it is not a run, has no readable checkpoint, or its config names code outside of the
            trusted packages.
    """
    run = RunDirectory(run_dir, trust)
    module = build(run.config())
    load_weights(module, run.checkpoint(checkpoint)[1])
    game = module.game
    reason = f"stopped after {game.step} of the {game.first_step} steps before its generator learns"
    # Without earlier stages a run may be loaded before its first step; steps_played is negative in them.
    untrained = game.first_step and game.steps_played <= 0
    require(not untrained, "run_dir", run_dir, reason, f"continue it: {shell_override('resume', run.path)}")
    module.to(device).eval()
    return game


def init_from(module: GameModule, checkpoint: dict[str, Any]) -> None:
    """Loads the players' weights only; the step and the states of tricks stay those of a new run.

    Raises:
        ConfigError: the weights are those of other networks.
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
    own = module.state_dict()
    try:
        for name, value in state.items():
            expected = own.get(name, value)
            if torch.is_tensor(value) and value.is_floating_point() != expected.is_floating_point():
                raise TypeError(f"{name} is of {value.dtype}")
        module.load_state_dict(state)
    except Exception as error:  # a layer may raise anything about a state that is not its own
        # torch lists the differences on the lines below the first.
        lines = [line.strip().rstrip(".") for line in str(error).splitlines()]
        raise ConfigError(f"these weights belong to another game: {''.join(lines[1:2] or lines)}") from error
