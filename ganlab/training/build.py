"""Builds the module of a run from its config, and loads weights into it."""

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.config.build import as_config_errors, build_games, instantiate
from ganlab.config.compose import num_processes
from ganlab.config.overrides import shell_override
from ganlab.config.parts import naming_part, part_configs, typed_key
from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import borrowed_runs, stage_configs
from ganlab.core.errors import ConfigError, prefixing_all_keys, renaming_keys, require
from ganlab.core.players import Player, network_names, path
from ganlab.data.base import Data
from ganlab.filesystem import atomic_writer
from ganlab.game import Game
from ganlab.games import Playable, find_part, main_part
from ganlab.networks.autoencoder import pretrained_initialiser
from ganlab.networks.norms import DifferentiableBatchNorm
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play
from ganlab.tricks.gradient_regulariser import GradientRegulariser


class LoadedRun(NamedTuple):
    """A run as it was read, and the runs that it borrows from. `made_by_user` is that of all of them."""

    directory: RunDirectory
    cfg: DictConfig
    checkpoint: dict[str, Any]
    module: GameModule
    borrowed: "dict[str, LoadedRun]"

    def write_copy(self, path: Path) -> None:
        """Writes what `load_run` reads: the config and the weights, also of the runs that it borrows from."""
        for name, run in self.borrowed.items():
            run.write_copy(path / "borrowed" / name)
        copy = RunDirectory(path)
        copy.made_by_user = self.directory.made_by_user
        copy.make_folders()
        with atomic_writer(copy.checkpoints / "last.ckpt") as file:
            torch.save(self.checkpoint | {"optimizer_states": [], "callbacks": {}, "loops": {}}, file)
        copy.write_config(self.cfg)


def build(
    cfg: DictConfig, data: Data | None = None, borrowed: Mapping[str, LoadedRun] | None = None
) -> GameModule:
    """The module of a run, with all of its phases.

    Args:
        cfg: the config of the run.
        data: the data of the run. None suffices for a module whose weights will be loaded.
        borrowed: the runs from which this run borrows; None: they are read.

    Raises:
        ConfigError: a value is out of its range, or a trick could not act.
    """
    if cfg.compile:
        torch._dynamo.reset()  # forgets what the previous job of a sweep has compiled
    phases: list[Phase] = []  # in the order of play; that of the main game is the last one
    earlier_games: dict[str, Game] = {}  # those of borrowed runs and earlier stages
    for name, run in (load_borrowed(cfg) if borrowed is None else borrowed).items():
        earlier_games |= lent_games(name, run.module.phases[-1].game)
    for stage, game_cfg in stage_configs(cfg):
        # In an error about a stage, the key `clip` becomes stages.<name>.clip. The main game needs no prefix.
        prefix = None if stage is None else f"stages.{stage}"
        naming_parts = renaming_keys(partial(typed_key, game_cfg))
        with prefixing_all_keys(prefix, separator="."), naming_parts, as_config_errors():
            phases.append(build_phase(game_cfg, data, earlier_games, name=stage or "", seed=cfg.seed))
        earlier_games |= lent_games(stage or "", phases[-1].game)
    with as_config_errors():
        return GameModule(phases)


def lent_games(name: str, game: Playable) -> dict[str, Game]:
    """The games that others may borrow from: by the name of the run or stage the first, then "name/part"."""
    return {name: main_part(game)} | {path(name, part_name): part for part_name, part in game.parts.items()}


def build_phase(
    cfg: DictConfig, data: Data | None, earlier_games: Mapping[str, Game], *, name: str, seed: int
) -> Phase:
    """The phase of a run that plays a stage, or the main game if the name is empty.

    The config is that of this game alone, from `stage_configs`; the data and the seed are those of the run.
    """
    game = build_games(cfg, data, earlier_games)
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
        if data is not None:  # without data, the weights of a trained game will be loaded
            warn_of_batch_norm(part)
        if cfg.compile:
            part.compile()
        clips = dict.fromkeys(part.players) | instantiate(part_cfg.clip)  # None: no clipping
        for of_players, values in ((optimizers, instantiate(part_cfg.optimizer)), (clip, clips)):
            of_players |= {path(part_name, player): value for player, value in values.items()}
    play = instantiate(cfg.play, Play)
    shallow = [earlier_games[earlier].networks for earlier in cfg.get("pretrained", [])]
    initialise = pretrained_initialiser(main_part(game).networks, shallow) if shallow else None
    return Phase(game, play, optimizers, clip, seed, name, cfg.steps, initialise)


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


@rank_zero_only
def warn_of_batch_norm(game: Game) -> None:
    """Warns if a trick penalises the gradient at each sample, but batch norm couples the samples."""
    names = [name for name, trick in game.tricks.items() if isinstance(trick, GradientRegulariser)]
    layers = () if game.discriminator is None else game.discriminator.modules()
    if names and any(isinstance(layer, _BatchNorm) for layer in layers):
        reason = "the discriminator has batch norm, so the gradient at a sample depends on its whole batch"
        print(f"{', '.join(names)}: {reason}; trick=normalisation removes it", file=sys.stderr)


def load(
    run_dir: str | Path,
    checkpoint: str | None = None,
    trust: Iterable[str] = (),
    device: str = "cpu",
    part: str | None = None,
) -> Game:
    """The trained game of a run, in evaluation mode. Its data are not needed.

    Args:
        run_dir: a run directory, or one of its checkpoints.
        checkpoint: last, previous or best, or a path; None: run_dir itself if it is a checkpoint, otherwise
            the last one.
        trust: the packages, in addition to ganlab, from which the config may build objects.
        device: the device to which the game is moved.
        part: the name of a part of a composite of games; None: the first.

    Raises:
        ConfigError: the directory is not a run or has no readable checkpoint, the config names classes
            outside of the trusted packages, or there is no such part.
    """
    return find_part(load_parts(run_dir, checkpoint, trust, device), part)


def load_parts(
    run_dir: str | Path, checkpoint: str | None = None, trust: Iterable[str] = (), device: str = "cpu"
) -> Mapping[str, Game]:
    """The parts of the trained main game of a run, by name; of a game alone, itself without a name."""
    return load_run(RunDirectory(run_dir, trust), checkpoint).module.to(device).eval().parts


def load_run(run: RunDirectory, checkpoint: str | None = None) -> LoadedRun:
    """A trained run, with the errors of `load`."""
    cfg = run.config()
    borrowed = load_borrowed(cfg)
    run.made_by_user &= all(lender.directory.made_by_user for lender in borrowed.values())
    module = build(cfg, borrowed=borrowed)
    _, content = run.checkpoint(checkpoint)
    load_weights(module, content)
    game = module.game
    # In a run with stages, the generator of the main game is untrained until they end.
    first_step = module.phases[-1].first_step
    is_trained = first_step == 0 or game.run_step > first_step
    reason = f"stopped after {game.run_step} of the {first_step} steps before its generator learns"
    require(is_trained, reason, f"continue it: {shell_override('resume', run.path)}", "run_dir", run.given)
    return LoadedRun(run, cfg, content, module, borrowed)


def load_borrowed(cfg: DictConfig) -> dict[str, LoadedRun]:
    """The runs that a run borrows from, by name: frozen, and in the precision of the run.

    Raises:
        ConfigError: one of them cannot be loaded, or has data of another range.
    """
    runs: dict[str, LoadedRun] = {}
    for name, directory in borrowed_runs(cfg).items():
        with prefixing_all_keys(f"borrows.{name}"):
            directory.refuse_special_files()
            runs[name] = run = load_run(directory)
            agrees = run.cfg.data.range == cfg.data.range
            require(agrees, "has data of another range", "choose another", "data.range", run.cfg.data.range)
        dtype = torch.float64 if cfg.trainer.precision == "64-true" else torch.get_default_dtype()
        run.module.to(dtype).eval().requires_grad_(False)
    return runs


def load_players(module: GameModule, checkpoint: dict[str, Any]) -> None:
    """Loads only the weights of the players; steps and states of tricks stay those of a new run."""
    for name, game in module.named_modules():
        if isinstance(game, Game):
            for network in network_names(game.players):
                load_weights(game.networks[network], checkpoint, f"{name}.{network}.")
            game.tricks.on_weights_loaded(game.networks)


def load_weights(module: nn.Module, checkpoint: dict[str, Any], prefix: str = "") -> None:
    """Loads those weights of a checkpoint whose names begin with a prefix, which the module's names lack.

    Raises:
        ConfigError: the weights do not fit the module.
    """
    weights = checkpoint["state_dict"].items()
    state = {name.removeprefix(prefix): value for name, value in weights if name.startswith(prefix)}
    try:
        for name, tensor in module.state_dict().items():
            value = state.get(name)
            # torch would convert integers to floating-point numbers, or back, without an error.
            if torch.is_tensor(value) and value.is_floating_point() != tensor.is_floating_point():
                raise TypeError(f"{name} is of {value.dtype}")
        module.load_state_dict(state)
    except Exception as error:  # a layer may raise anything about a state that does not fit
        # torch writes a headline, and then each difference in a line of its own.
        headline, *differences = str(error).splitlines() or [""]
        shown = (differences or [headline])[0].strip().rstrip(".")
        raise ConfigError(f"these weights belong to another game: {shown}") from error
