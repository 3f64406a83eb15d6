"""Everything that the config of a run describes, built before anything is written."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from ganlab.config.build import as_config_errors, build_data, build_evaluations, instantiate
from ganlab.config.checks import check_config, selected_nodes
from ganlab.config.compose import num_processes
from ganlab.config.load import build_run, load_borrowed, naming_stage, refuse_unused_borrows
from ganlab.config.resume import leaves
from ganlab.config.run_directory import RunDirectory, new_run_path
from ganlab.config.setting_types import is_borrowed, to_plain
from ganlab.config.stages import Timetable, complete_stages, naming_part, part_configs, stage_configs
from ganlab.config.views import Scene, parse_views
from ganlab.core.errors import require
from ganlab.core.players import Player, network_names, path
from ganlab.game import Game
from ganlab.games import Playable, RunGames
from ganlab.networks.norms import DifferentiableBatchNorm


class RunSettings(NamedTuple):
    """The plain settings of a run; conf/run.yaml explains them. Its games are built from the others.

    Attributes:
        steps: the number of steps of the main game.
        devices: the number of processes on each of the `num_nodes` machines.
        precision: 32-true, bf16-mixed, 16-mixed or 64-true.
        class_names: the names of the classes of a run that is resumed; None: a new run, or they have none.
        networks: the name to print of each network; in a composite of games, by "part/network".
    """

    seed: int
    steps: int
    resume: str | None
    init_from: str | None
    log_every: int
    evaluate_every: int
    sample_every: int
    checkpoint_every: int
    monitor: str | None
    profile: bool
    devices: int
    num_nodes: int
    precision: str
    class_names: Sequence[str] | None
    networks: Mapping[str, str]


class PreparedRun:
    """What the config of a run describes, checked and built.

    Args:
        cfg: the config, from `config_to_play`; what its stages inherit is written into it.
        overrides: those of the command line; what would have no effect is refused.
        directory: that of the run to resume, if its config was read already.
        phase_class, play_class, trainer_class, callback_class: what plays the games, and the base classes of
            what a config names. They are not imported here, since they need Lightning.

    Attributes:
        record: the config as config.yaml and the loggers get it, which `write_record` completes.
        borrowed: the runs from which this run borrows. They hold checkpoints, and are dropped at the start.
        views: the options of the views after the last step.
        scene: what these views show besides the games.
        make_trainer: makes the Trainer from what no setting determines.
        make_loggers: the functions that make the loggers, by their names in the config.
        directory: the directory of the run, which may not exist yet.
    """

    def __init__(
        self, cfg: DictConfig, overrides: Sequence[str], directory: RunDirectory | None,
        phase_class: type, play_class: type, trainer_class: type, callback_class: type,
    ):  # fmt: skip
        with as_config_errors():
            check_config(cfg, overrides)
            complete_stages(cfg)
        self.record, self.data, self.timetable = cfg, build_data(cfg), Timetable(cfg)
        self.timetable.check_batches(self.data)
        self.borrowed = load_borrowed(cfg)
        self.games = build_run(cfg, self.data, self.borrowed)
        self.phases = build_phases(cfg, self.games, phase_class, play_class)
        refuse_unused_borrows(cfg)  # after what is wrong with the borrowed runs themselves
        self.evaluations = build_evaluations(cfg, self.data, self.games.parts)
        self.directory = directory or RunDirectory(cfg.resume or new_run_path(cfg))
        with as_config_errors():
            self.views = parse_views(cfg.views, of_images=self.data.value_range is not None)
        self.scene = Scene(cfg, self.directory, self.data)
        self.make_trainer = instantiate(cfg.trainer, trainer_class)
        self.make_loggers = {str(name): instantiate(node) for name, node in cfg.logger.items()}
        nodes = selected_nodes(cfg, "callback").items()
        self.callbacks = {name: instantiate(node, callback_class) for name, node in nodes}
        self.settings = run_settings(cfg)

    def loggers(self) -> list[Any]:
        """The loggers, which begin to write. Those of Lightning are made already."""
        makers = self.make_loggers.values()
        return [make(directory=self.directory) if isinstance(make, partial) else make for make in makers]

    def write_record(self, *, copy_borrowed: bool) -> None:
        """Writes config.yaml, which says that the run has begun, and what the run needs of others."""
        for name, run in self.borrowed.items() if copy_borrowed else ():
            run.write_copy(self.directory.borrowed / name)
            self.record.borrows[name] = str(self.directory.borrowed / name)
        with open_dict(self.record):
            self.record.run_dir = str(self.directory.path)
            self.record.class_names = self.data.class_names and list(self.data.class_names)
        self.directory.write_config(self.record)

    def text_for_processes(self) -> str:
        """The config from which the other processes of the run are started.

        Each of them reads the names of the classes from the data: thousands do not fit into a variable.
        """
        return OmegaConf.to_yaml(OmegaConf.merge(self.record, {"class_names": None}), resolve=True)


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


def run_settings(cfg: DictConfig) -> RunSettings:
    """The settings of a config that was checked."""
    plain: dict[str, Any] = {str(key): to_plain(cfg[key]) for key in RunSettings._fields if key in cfg}
    trainer = {key: cfg.trainer.get(key, 1) for key in ("devices", "num_nodes", "precision")}
    networks = {}
    for part, part_cfg in part_configs(cfg).items():
        for name, node in part_cfg.model.items():
            networks[path(part, str(name))] = target_name(node, str(name))
    return RunSettings(**{"class_names": None} | plain | trainer, networks=networks)


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """The settings of a run under flat keys, such as "optimizer.generator.lr", for the tables of loggers.

    Lists are texts, because a table cannot group by lists. `trick` and `metric` name what is selected.
    """
    flat = {key: str(value) if isinstance(value, list) else value for key, value in leaves(cfg, "")}
    return flat | {group: ", ".join(map(str, sorted(cfg[group]))) for group in ("trick", "metric")}


def target_name(node: DictConfig, network: str) -> str:
    """The name to print for a network, such as "MLP" for `my_networks.MLP`.

    If a function of the network's name builds it, its module is named, such as "dcgan" for
    `ganlab.networks.dcgan.generator`. What a network borrows from is named as in "borrowed from game".
    """
    if is_borrowed(node):
        return f"borrowed from {node.borrowed}"
    return str(node._target_).removesuffix(f".{network}").rpartition(".")[2]
