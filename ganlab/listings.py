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
COST = (
    "The cost is the additional time of a step of a DCGAN in per cent, or of the network in brackets if a "
    "DCGAN refuses the trick; `costs.csv` lists the objectives. It is the median of three ratios. Costs as "
    "low as -5 are measured for tricks that only add work, so differences of five points mean nothing. "
    "Measured on {machines}."
)


def tricks(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Lists the tricks: what each does, needs, takes and costs, and which of them a run accepts.
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
    listing = Listing("trick", bool(overrides), {"needs": "needs", "claims": "takes"}, costs)
    nodes = compose(*without("trick", overrides), f"trick=[{','.join(listing.paths)}]").trick
    for node in (cfg, nodes):  # once, and not in each variant
        OmegaConf.resolve(node)

    def variant(name: str) -> tuple[DictConfig, Any]:
        require(name in nodes, f"{listing.paths[name]} has no entry {name}", key="trick", value=name)
        changed = cfg.copy()
        changed.trick = OmegaConf.merge({}, cfg.trick, {name: nodes[name]})
        return changed, nodes[name]

    if overrides:
        accepts(cfg)  # what is wrong without any of the tricks is no reason against one of them
    listing.show(variant)
    print(f"\n{fill(cost_note(read_costs()), help.page_width())}")


def objectives(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Lists the objectives: what each minimises, whom it trains, what it needs and provides, and which fit.
    What an objective provides, a trick may need. Given settings of ganlab run, the list has the objectives
    that can replace the one of this run, and then the others, each with the reason why not.

      ganlab objectives
      ganlab objectives model=dcgan
      ganlab objectives trick=label_smoothing     # with which label smoothing has an effect
      ganlab objectives data=ring model=gmn
      ganlab objectives experiment=vae_gan_digits
    """
    others = without("objective", overrides)

    def variant(name: str) -> tuple[DictConfig, Any]:
        changed = compose(*others, f"objective={name}")
        return changed, changed.objective

    traits = {"players": "trains", "needs": "needs", "provides": "provides"}
    Listing("objective", bool(overrides), traits, {}).show(variant)


def without(group: str, overrides: Sequence[str]) -> list[str]:
    """The overrides that neither choose from a group nor remove from it."""
    chosen = (group, f"~{group}.", f"{group}@", f"{group}/")
    return [word for word in overrides if not word.lstrip("+").partition("=")[0].startswith(chosen)]


def accepts(cfg: DictConfig) -> None:
    """Raises `ConfigError` if the game of a run cannot be built. Reads no data."""
    from ganlab.config.checks import check_config
    from ganlab.training.build import build

    check_config(cfg)
    build(cfg)


class Listing:
    """A table of the options of a group.

    Args:
        group: "trick" or "objective".
        is_filtered: whether options that a run refuses are listed apart.
        traits: the attributes of an option's object that are shown, and what they are called for users.
        costs: the cost of each option in per cent; empty if costs are not shown.
    """

    def __init__(self, group: str, is_filtered: bool, traits: Mapping[str, str], costs: Mapping[str, str]):
        self.group, self.is_filtered, self.traits, self.costs = group, is_filtered, traits, costs
        self.paths = help.options(group, own_config_folder(sys.argv[1:]))
        self.column = 4 + max(map(len, self.paths))

    def show(self, variant: Callable[[str], tuple[DictConfig, Any]]) -> None:
        """Prints the options, and then those that the run refuses, with reasons.

        Args:
            variant: from an option to the config of the run that has it, and to the node of its object.
        """
        from ganlab.config.build import instantiate  # imports torch

        lines, refused = help.entry("", "cost, %", column=self.column) if self.costs else [], list[str]()
        for name in self.paths:
            try:
                cfg, node = variant(name)
                built = instantiate(node)
                if self.is_filtered:
                    accepts(cfg)
                lines += self.rows(name, built)
            except ConfigError as error:
                own = error.key in ("", self.group, f"{self.group}.{name}")
                reason = terminal_text(error.reason if own else f"{error.key}: {error.reason}")
                refused += help.entry(name, reason, column=self.column)
        print("\n".join([*lines, *(["", "Refused with these settings:"] if refused else []), *refused]))

    def rows(self, name: str, built: Any) -> list[str]:
        """The lines of an option: its name, its cost and what it is, and then a line for each trait."""
        column, text = self.column, help.option_text(self.paths[name])
        if self.costs:
            name, column = f"{name:<{column - 2}}{self.costs.get(name, ''):<11}", column + 11
        lines = help.entry(name, text, column=column)
        for attribute, word in self.traits.items():
            if values := ", ".join(sorted(map(str, getattr(built, attribute)))):
                lines += help.entry("", f"{word}: {values}", column=column)
        return lines


def read_costs() -> list[dict[str, str]]:
    """The rows of costs.csv; empty if nothing has been measured."""
    if not COSTS.exists():
        return []
    with COSTS.open() as file:
        return list(csv.DictReader(file))


def cost_cell(row: Mapping[str, str]) -> str:
    """The cost in per cent of a step, followed by the network unless the network is the DCGAN."""
    network = row["workload"].partition(" ")[0]
    return row["per cent of a step"] + ("" if network in ("", "DCGAN") else f" ({network})")


def cost_note(costs: Sequence[Mapping[str, str]]) -> str:
    """The paragraph that explains the costs."""
    if not costs:
        return "`python scripts/bench_tricks.py` measures the cost of each trick; it has not been run."
    return COST.format(machines="; ".join(sorted({row["machine"] for row in costs})))
