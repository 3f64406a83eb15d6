"""`ganlab tricks` and `ganlab objectives`: what can be chosen, what it needs and costs, and what fits."""

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab import help
from ganlab.config.compose import compose, own_config_folder
from ganlab.core.errors import ConfigError, require, terminal_text

COSTS = Path(__file__).parent / "tricks" / "costs.csv"
COST = """The cost is the additional time of a step of a DCGAN in per cent, or of the network in brackets if a
DCGAN refuses the trick. It is the median of three ratios. Costs as low as -5 are measured for tricks that
only add work, so differences of five points mean nothing. Measured on {machines}."""
# The attributes of an option's object that are shown, and what they are called for users.
TRAITS = {"players": "trains", "needs": "needs", "claims": "takes", "provides": "provides"}
Variant = Callable[[str], tuple[DictConfig, Any]]


def tricks(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Lists what each trick does, needs, takes and costs, and the tricks that a run accepts.
    A trick needs properties of the objective, the networks or the data. What it takes, no other trick may
    need. Given settings of ganlab run, the list has the tricks that can be added to this run, and then all
    others, each with the reason why not.

      ganlab tricks
      ganlab tricks objective=hinge
      ganlab tricks trick=r1                      # which can be combined with r1
      ganlab tricks model=dcgan data.labelled=100
      ganlab tricks experiment=pix2pix_digits
    """
    costs = {row["trick"]: cost_cell(row) for row in read_costs()}
    paths = help.options("trick", own_config_folder(sys.argv[1:]))
    others = [word for word in overrides if not word.lstrip("+~").startswith("trick")]
    nodes = compose(*others, f"trick=[{','.join(paths)}]").trick
    OmegaConf.resolve(cfg)  # once, and not in each variant
    OmegaConf.resolve(nodes)

    def variant(name: str) -> tuple[DictConfig, Any]:
        require(name in nodes, f"{paths[name]} has no entry {name}", key="trick", value=name)
        changed = cfg.copy()
        changed.trick = OmegaConf.merge({}, {name: nodes[name]}, cfg.trick)
        return changed, nodes[name]

    if overrides:
        from ganlab.config.load import build  # imports torch

        build(cfg)  # what is wrong without any of the tricks is no reason against one of them
    show("trick", paths, variant, bool(overrides), costs)
    print(f"\n{fill(cost_note(read_costs()), help.page_width())}")


def objectives(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Lists what each objective does, needs and provides, and the objectives that a run accepts.
    What an objective provides, a trick may need. Given settings of ganlab run, the list has the objectives
    that can replace the one of this run, and then the others, each with the reason why not.

      ganlab objectives
      ganlab objectives model=dcgan
      ganlab objectives trick=label_smoothing     # with which label smoothing has an effect
      ganlab objectives data=ring model=gmn
      ganlab objectives experiment=vae_gan_digits
    """
    paths = help.options("objective", own_config_folder(sys.argv[1:]))
    others = [word for word in overrides if not word.lstrip("+~").startswith("objective")]

    def variant(name: str) -> tuple[DictConfig, Any]:
        changed = compose(*others, f"objective={name}")
        return changed, changed.objective

    show("objective", paths, variant, bool(overrides), {})


def show(
    group: str, paths: Mapping[str, Path], variant: Variant, is_filtered: bool, costs: Mapping[str, str]
) -> None:
    """Prints the options of a group, and then those that a run refuses, with reasons.

    Args:
        paths: the config file of each option.
        variant: from an option to the config of the run that has it, and to the node of its object.
        is_filtered: whether the run with each option is built, and may be refused.
        costs: the cost of each option in per cent; empty if costs are not shown.
    """
    from ganlab.config.build import instantiate  # imports torch
    from ganlab.config.load import build

    refused, column = list[str](), 4 + max(map(len, paths))
    beside = column + 11 if costs else column  # the column of explanations
    lines = help.entry("", "cost, %", column=column) if costs else []
    for name, path in paths.items():
        try:
            cfg, node = variant(name)
            built = instantiate(node)
            if is_filtered:
                build(cfg)
            head = f"{name:<{column - 2}}{costs.get(name, '')}"
            lines += help.entry(head, help.option_text(path), column=beside)
            for attribute, word in TRAITS.items():
                if values := ", ".join(sorted(map(str, getattr(built, attribute, ())))):
                    lines += help.entry("", f"{word}: {values}", column=beside)
        except ConfigError as error:
            own = error.key in ("", group, f"{group}.{name}")
            reason = error.reason if own else str(ConfigError(error.reason, "", error.key, error.value))
            refused += help.entry(name, terminal_text(reason), column=column)
    print("\n".join([*lines, *(["", "Refused with these settings:"] if refused else []), *refused]))


def read_costs() -> list[dict[str, str]]:
    """The rows of costs.csv."""
    with COSTS.open() as file:
        return list(csv.DictReader(file))


def cost_cell(row: Mapping[str, str]) -> str:
    """The cost in per cent of a step, followed by the network unless the network is the DCGAN."""
    network = row["workload"].partition(" ")[0]
    return row["per cent of a step"] + ("" if network in ("", "DCGAN") else f" ({network})")


def cost_note(costs: Sequence[Mapping[str, str]]) -> str:
    """The paragraph that explains the costs."""
    return COST.replace("\n", " ").format(machines="; ".join(sorted({row["machine"] for row in costs})))
