"""Everything that the config of a run describes, built before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.build import as_config_errors, build_data, build_evaluations, instantiate
from ganlab.config.checks import check_config, selected_nodes
from ganlab.config.load import build_run, load_borrowed, refuse_unused_borrows
from ganlab.config.phases import build_phases
from ganlab.config.resume import leaves
from ganlab.config.run_directory import RunDirectory, new_run_path
from ganlab.config.setting_types import is_borrowed, to_plain
from ganlab.config.stages import Timetable, complete_stages, part_configs
from ganlab.config.views import Scene, parse_views
from ganlab.core.players import path


@dataclass(frozen=True)
class RunSettings:
    """The plain settings of a run; conf/run.yaml explains them. Its games are built from the others.

    Attributes:
        steps: the number of steps of the main game.
        devices: the number of processes on each of the `num_nodes` machines.
        precision: 32-true, bf16-mixed or 64-true.
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


def run_settings(cfg: DictConfig) -> RunSettings:
    """The settings of a config that was checked."""
    names = {field.name for field in fields(RunSettings)}
    plain: dict[str, Any] = {str(key): to_plain(cfg[key]) for key in names.intersection(cfg)}
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
