"""The settings of a run that training reads, and the names that it prints, as typed objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig

from ganlab.config.parts import part_configs
from ganlab.config.setting_types import is_borrowed, to_plain
from ganlab.core.players import path


@dataclass(frozen=True)
class RunSettings:
    """The plain settings of a run; conf/run.yaml explains them. Those of its games are `PhaseSettings`.

    Attributes:
        steps: the number of steps of the main game.
        devices: the number of processes on each of the `num_nodes` machines.
        precision: 32-true, bf16-mixed or 64-true.
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


@dataclass(frozen=True)
class RunNames:
    """What a run consists of, by names to print, such as "Digits" for `ganlab.data.vision.Digits`.

    Attributes:
        networks: of each network, by its name, or in a composite of games by "part/name".
    """

    networks: Mapping[str, str]
    data: str
    objective: str
    tricks: Sequence[str]


def run_settings(cfg: DictConfig) -> RunSettings:
    """The settings of a config that was checked."""
    names = {field.name for field in fields(RunSettings)}
    plain: dict[str, Any] = {str(key): to_plain(cfg[key]) for key in names.intersection(cfg)}
    trainer = {key: cfg.trainer.get(key, 1) for key in ("devices", "num_nodes", "precision")}
    return RunSettings(**plain, **trainer)


def run_names(cfg: DictConfig) -> RunNames:
    """The names of what a config selects."""
    networks = {
        path(part, str(name)): target_name(node, str(name))
        for part, part_cfg in part_configs(cfg).items()
        for name, node in part_cfg.model.items()
    }
    return RunNames(networks, target_name(cfg.data), target_name(cfg.objective), [*map(str, cfg.trick)])


def target_name(node: DictConfig, function: str = "") -> str:
    """The name to print for what a node builds, such as "Digits" for `ganlab.data.vision.Digits`.

    If it is the function of this name, its module is named, such as "dcgan" for
    `ganlab.networks.dcgan.generator`. What a network borrows from is named as in "borrowed from game".
    """
    if is_borrowed(node):
        return f"borrowed from {node.borrowed}"
    return str(node._target_).removesuffix(f".{function}").rpartition(".")[2]
