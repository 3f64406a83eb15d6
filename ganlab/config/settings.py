"""The settings of a run that training reads, as a typed object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig

from ganlab.config.parts import part_configs
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
        data, objective, trick: names to print, such as "Digits" for `ganlab.data.vision.Digits`.
        networks: such a name for each network; in a composite of games, by "part/network".
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
    objective: str
    trick: Sequence[str]
    networks: Mapping[str, str]


def run_settings(cfg: DictConfig) -> RunSettings:
    """The settings of a config that was checked."""
    names = {field.name for field in fields(RunSettings)}
    plain: dict[str, Any] = {str(key): to_plain(cfg[key]) for key in names.intersection(cfg)}
    trainer = {key: cfg.trainer.get(key, 1) for key in ("devices", "num_nodes", "precision")}
    networks = {
        path(part, str(name)): target_name(node, str(name))
        for part, part_cfg in part_configs(cfg).items()
        for name, node in part_cfg.model.items()
    }
    shown = {"data": target_name(cfg.data), "objective": target_name(cfg.objective), "trick": [*cfg.trick]}
    return RunSettings(**{"class_names": None} | plain | trainer | shown, networks=networks)


def target_name(node: DictConfig, function: str = "") -> str:
    """The name to print for what a node builds, such as "Digits" for `ganlab.data.vision.Digits`.

    If it is the function of this name, its module is named, such as "dcgan" for
    `ganlab.networks.dcgan.generator`. What a network borrows from is named as in "borrowed from game".
    """
    if is_borrowed(node):
        return f"borrowed from {node.borrowed}"
    return str(node._target_).removesuffix(f".{function}").rpartition(".")[2]
