"""The settings of a run that training reads, as a typed object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig

from ganlab.config.parts import part_configs
from ganlab.config.resume import leaves
from ganlab.config.setting_types import is_borrowed, to_plain
from ganlab.core.players import path


@dataclass(frozen=True)
class RunSettings:
    """The plain settings of a run; conf/run.yaml explains them. Its games are built from the others.

    Attributes:
        steps: the number of steps of the main game.
        devices: the number of processes on each of the `num_nodes` machines.
        precision: 32-true, bf16-mixed, 16-mixed or 64-true.
        class_names: the names of the classes of a run that is resumed; None: a new run, or they have none.
        data: the name to print, such as "Digits" for `ganlab.data.vision.Digits`.
        networks: such a name for each network; in a composite of games, by "part/network".
        games: what each part of the game is, such as "Hinge with r1", by its name; of a game alone, by "".
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
    data: str
    networks: Mapping[str, str]
    games: Mapping[str, str]


def run_settings(cfg: DictConfig) -> RunSettings:
    """The settings of a config that was checked."""
    names = {field.name for field in fields(RunSettings)}
    plain: dict[str, Any] = {str(key): to_plain(cfg[key]) for key in names.intersection(cfg)}
    trainer = {key: cfg.trainer.get(key, 1) for key in ("devices", "num_nodes", "precision")}
    networks, games = {}, {}
    for part, part_cfg in part_configs(cfg).items():
        for name, node in part_cfg.model.items():
            networks[path(part, str(name))] = target_name(node, str(name))
        tricks = f"with {', '.join(part_cfg.trick)}" if part_cfg.trick else "without tricks"
        games[part] = f"{target_name(part_cfg.objective)} {tricks}"
    shown = {"data": target_name(cfg.data), "networks": networks, "games": games}
    return RunSettings(**{"class_names": None} | plain | trainer | shown)


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """The settings of a run under flat keys, such as "optimizer.generator.lr", for the tables of loggers.

    Lists are texts, because a table cannot group by lists. `trick` and `metric` name what is selected.
    """
    flat = {key: str(value) if isinstance(value, list) else value for key, value in leaves(cfg, "")}
    return flat | {group: ", ".join(map(str, sorted(cfg[group]))) for group in ("trick", "metric")}


def target_name(node: DictConfig, function: str = "") -> str:
    """The name to print for what a node builds, such as "Digits" for `ganlab.data.vision.Digits`.

    If it is the function of this name, its module is named, such as "dcgan" for
    `ganlab.networks.dcgan.generator`. What a network borrows from is named as in "borrowed from game".
    """
    if is_borrowed(node):
        return f"borrowed from {node.borrowed}"
    return str(node._target_).removesuffix(f".{function}").rpartition(".")[2]
