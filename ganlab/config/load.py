"""The games of a run: built from its config, and those of a finished run with their weights."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ganlab.config.build import as_config_errors, build_games, condition_of, instantiate_group
from ganlab.config.checks import AROUND_GAMES, check_config, refuse_no_config
from ganlab.config.overrides import shell_override
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import mappings
from ganlab.config.stages import Timetable, borrowed_runs, stage_configs, typed_key
from ganlab.core.capability import Capability
from ganlab.core.errors import ConfigError, prefixing_all_keys, renaming_keys, require
from ganlab.core.players import network_names, path
from ganlab.data.base import Data
from ganlab.filesystem import atomic_writer
from ganlab.game import Game
from ganlab.games import Playable, RunGames, find_part, main_part
from ganlab.networks.autoencoder import pretrained_initialiser


class LoadedRun(NamedTuple):
    """A run as it was read, and the runs that it borrows from. `made_by_user` is that of all of them."""

    directory: RunDirectory
    cfg: DictConfig
    checkpoint: dict[str, Any]
    games: RunGames
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


def build(config: DictConfig, part: str | None = None) -> Game:
    """The untrained game of a config, as a run has it before its first step. Reads no data.

    Only the weights of an initialiser that uses the data, such as `OutputMean`, differ from those of a run.

    Args:
        config: the result of `compose`.
        part: the name of a part of a composite of games; None: the first.

    Raises:
        ConfigError: a value is out of its range, two settings contradict each other, a trick could not act,
            or there is no such part.
    """
    refuse_no_config(config)
    with as_config_errors():
        check_config(config, unchecked=AROUND_GAMES)
    refuse_unread_classes(config)
    return find_part(build_run(config).parts, part)


def refuse_unread_classes(cfg: DictConfig) -> None:
    """Raises `ConfigError` if a trick needs the number of classes, and only the data have it."""
    for _, game_cfg in stage_configs(cfg):
        for name, trick in instantiate_group(game_cfg, "trick").items():
            is_told = Capability.LABELS in trick.needs | trick.claims
            is_known = not is_told or condition_of(game_cfg) is not None
            reason = f"is not known before the data are read, and trick={name} needs it"
            require(is_known, reason, "set it to the number of classes", "data.num_classes", None)


def build_run(
    cfg: DictConfig, data: Data | None = None, borrowed: Mapping[str, LoadedRun] | None = None
) -> RunGames:
    """All games of a run, untrained.

    Args:
        cfg: the config of the run.
        data: the data of the run. None suffices for games whose weights will be loaded.
        borrowed: the runs from which this run borrows; None: they are read.

    Raises:
        ConfigError: a value is out of its range, or a trick could not act.
    """
    if cfg.compile:
        torch._dynamo.reset()  # forgets what the previous job of a sweep has compiled
    games: dict[str, Playable] = {}  # in the order of play; the main game is the last one, without a name
    initialisers: dict[str, Callable[[], None]] = {}
    lenders: dict[str, Game] = {}
    for run_name, run in (load_borrowed(cfg) if borrowed is None else borrowed).items():
        lenders |= lent_games(run_name, [*run.games.playables.values()][-1])
    for stage, game_cfg in stage_configs(cfg):
        name = stage or ""
        with naming_stage(stage, game_cfg):
            games[name] = build_games(game_cfg, data, lenders)
            if shallow := [lenders[earlier].networks for earlier in game_cfg.get("pretrained", [])]:
                initialisers[name] = pretrained_initialiser(main_part(games[name]).networks, shallow)
        lenders |= lent_games(name, games[name])
    return RunGames(games, initialisers)


@contextmanager
def naming_stage(stage: str | None, cfg: DictConfig) -> Iterator[None]:
    """In an error about a stage, the key `clip` becomes stages.<name>.clip; the main game needs no prefix."""
    prefix = None if stage is None else f"stages.{stage}"
    with prefixing_all_keys(prefix, "."), renaming_keys(partial(typed_key, cfg)), as_config_errors():
        yield


def lent_games(name: str, game: Playable) -> dict[str, Game]:
    """The games that others may borrow from: by the name of the run or stage the first, then "name/part"."""
    return {name: main_part(game)} | {path(name, part_name): part for part_name, part in game.parts.items()}


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
            outside of the trusted packages, the device is not available, or there is no such part.
    """
    return find_part(load_parts(run_dir, checkpoint, trust, device), part)


def load_parts(
    run_dir: str | Path, checkpoint: str | None = None, trust: Iterable[str] = (), device: str = "cpu"
) -> Mapping[str, Game]:
    """The parts of the trained main game of a run, by name; of a game alone, itself without a name."""
    return load_run(RunDirectory(run_dir, trust), checkpoint).games.to(find_device(device)).eval().parts


def find_device(name: str | None) -> str:
    """The name of a device; None: the accelerator, or the CPU if there is none.

    Raises:
        ConfigError: the device is not available on this machine.
    """
    name = name or str(torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).item()  # fails on the meta device, which holds no values
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError("not available on this machine", "set device=cpu", "device", name) from error
    return name


def load_run(run: RunDirectory, checkpoint: str | None = None) -> LoadedRun:
    """A trained run, with the errors of `load`."""
    cfg = run.config()
    borrowed = load_borrowed(cfg)
    run.made_by_user &= all(lender.directory.made_by_user for lender in borrowed.values())
    games = build_run(cfg, borrowed=borrowed)
    _, content = run.checkpoint(checkpoint)
    load_weights(games, content)
    game = games.game
    # In a run with stages, the generator of the main game is untrained until they end.
    first_step = Timetable(cfg).main_start
    is_trained = first_step == 0 or game.run_step > first_step
    reason = f"stopped after {game.run_step} of the {first_step} steps before its generator learns"
    require(is_trained, reason, f"continue it: {shell_override('resume', run.path)}", "run_dir", run.given)
    return LoadedRun(run, cfg, content, games, borrowed)


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
        run.games.to(dtype).eval().requires_grad_(False)
    return runs


def refuse_unused_borrows(cfg: DictConfig) -> None:
    """Refuses borrowed runs whose networks and codes no game uses."""
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    keys = ("borrowed", "code_of")  # what is borrowed is named <run>, or <run>/<part>
    used = {str(node.get(key)).partition("/")[0] for _, node in mappings(plain) for key in keys}
    for name, run_dir in (plain.get("borrows") or {}).items():
        remedy = f"remove it, or set a network to {{borrowed: {name}}}, as model=f_anogan does"
        require(str(name) in used, "is used by no network", remedy, f"borrows.{name}", run_dir)


def load_players(module: nn.Module, checkpoint: dict[str, Any]) -> None:
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
