"""python scripts/docs.py: writes ganlab/tricks/README.md, every trick with what it does and what it refuses.

Everything in it is read off the code: names and hooks of the classes, their docstrings, which objectives and
which other tricks they refuse (each combination is built), and what a round costs, from costs.csv beside it,
which `python scripts/bench_tricks.py` writes.
"""

from __future__ import annotations

import csv
import inspect
import re
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

from ganhacks import GANHACKS
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from ganlab.config.build import build_game, instantiate
from ganlab.config.compose import CONF, compose
from ganlab.core.errors import ConfigError
from ganlab.core.turn import Capability
from ganlab.tricks.base import Trick

FOLDER = Path(__file__).parent.parent / "ganlab" / "tricks"
README, COSTS = FOLDER / "README.md", FOLDER / "costs.csv"
# A batch norm in the generator and labelled images of even sides: then as few tricks as may be refuse.
SMALL = (
    "logger=csv",
    "model.generator.hidden=[16]",
    "model.generator.batch_norm=true",
    "model.discriminator.hidden=[16]",
)
# What is the data's, the machine's or the compiler's to offer, not the objective's.
ELSEWHERE = (
    Capability.LABELS,
    Capability.LABELLED_BATCH,
    Capability.ONE_PROCESS,
    Capability.SECOND_DERIVATIVES,
)
INTRODUCTION = """# Tricks

A trick is a published technique that changes one part of the training of a GAN: the networks, what the
discriminator sees, the losses, which player moves, or the network that samples are drawn from. Tricks can be
combined with each other. A combination that cannot work is refused before training, with a remedy.

`trick=r1` selects one trick and `'trick=[r1,ema]'` several; `+trick=r1` adds one to those of an experiment,
and `'~trick.ema'` removes one. `conf/trick/<name>.yaml` holds the settings of a trick; `trick.ema.decay=0.99`
changes one of them. Some tricks also need something of the networks or the data, such as images, a hidden
layer, batch norm or normal latents; this is checked when the game is built. To write your own, see
[A trick of your own](../README.md#a-trick-of-your-own).

`make docs` writes this page from the code; do not edit it.
"""
PAPER = re.compile(r"\(([^()]*\b(?:19|20)\d\d[^()]*)\)")


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def composed(*overrides: str) -> DictConfig:
    """Composing takes a hundred times as long as building so small a game: once for each option."""
    cfg = compose(*SMALL, *overrides)
    OmegaConf.resolve(cfg)
    return cfg


@cache
def refusal(objective: str, *tricks: str) -> str | None:
    """Why an objective and tricks cannot go together; None: they can."""
    cfg = composed().copy()
    cfg.data.labelled = 10
    cfg.objective = composed(f"objective={objective}").objective
    cfg.trick = OmegaConf.merge({}, *(composed(f"trick={trick}").trick for trick in tricks))
    try:
        build_game(cfg)
    except ConfigError as refused:
        return str(refused)
    return None


def trick_class(trick: str) -> type[Trick]:
    return get_class(composed(f"trick={trick}").trick[trick]._target_)


def hooks(trick: type[Trick]) -> list[str]:
    """What a trick takes part in: the methods of `Trick` that it overrides."""
    own = [name for name, _ in inspect.getmembers(Trick, inspect.isfunction) if name in vars(Trick)]
    apart = ("__init__", "set_extra_state")
    return [name for name in own if name not in apart and getattr(trick, name) is not getattr(Trick, name)]


def settings(trick: str) -> list[str]:
    """What a trick as its YAML has it needs of other settings than the objective."""
    made: Trick = instantiate(composed(f"trick={trick}").trick[trick])
    return [str(offer) for offer in ELSEWHERE if offer in made.needs | made.claims]


def what(trick: type[Trick]) -> tuple[str, str]:
    """The first sentence of its docstring without the paper, and the paper."""
    text = " ".join((inspect.getdoc(trick) or "").split("\n\n")[0].split())
    paper = PAPER.search(inspect.getdoc(trick) or "")
    sentence = re.split(r"(?<=[a-z0-9)])[.:;](?: |$)", PAPER.sub("", text))[0]
    return re.sub(r"\s+([,:;]|\.(?!\.))", r"\1", sentence).strip().replace("|", "\\|"), (
        " ".join(paper[1].split()) if paper else ""
    )


def home(*tricks: str) -> str | None:
    """An objective in which each of some tricks plays alone; non_saturating, where that is one."""
    for objective in ("non_saturating", *options("objective")):
        if not any(refusal(objective, trick) for trick in tricks):
            return objective
    return None


def go_together(*tricks: str) -> bool:
    objective = home(*tricks)
    return objective is not None and refusal(objective, *sorted(tricks)) is None


class Refusals(NamedTuple):
    """Which objectives tricks refuse, and which tricks each other."""

    objectives: set[tuple[str, str]]  # trick, objective
    pairs: set[tuple[str, str]]  # by name


def built() -> Refusals:
    """What is refused when each combination is built."""
    tricks = options("trick")
    return Refusals(
        {(trick, name) for trick, name in product(tricks, options("objective")) if refusal(name, trick)},
        {pair for pair in combinations(tricks, 2) if not go_together(*pair)},
    )


def written() -> Refusals:
    """What the document says is refused."""
    above, (header, _, *below), _ = (cells(section) for section in README.read_text().split("\n## "))
    return Refusals(
        {(row[0], header[i]) for row in below for i, cell in enumerate(row) if cell == "–"},
        {(row[0], name) for row in above[2:] for name in re.split("`?, `?", row[-1]) if row[0] < name},
    )


def cells(section: str) -> list[list[str]]:
    """The rows of the table in a section, its header and the line below it among them."""
    lines = (re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("|"))
    return [[cell.strip(" `") for cell in line] for line in lines]


def costs() -> list[dict[str, str]]:
    """The rows of costs.csv; none, where nothing has been measured."""
    if not COSTS.exists():
        return []
    with COSTS.open() as file:
        return list(csv.DictReader(file))


def cost(row: dict[str, str]) -> str:
    """Per cent of a round, and of which network, unless it is the DCGAN that most were measured on."""
    network = row["workload"].partition(" ")[0]
    return row["per cent of a round"] + ("" if network in ("", "DCGAN") else f" ({network})")


def measured(rows: list[dict[str, str]]) -> str:
    """What the column of costs says."""
    if not rows:
        return "What each costs, `python scripts/bench_tricks.py` measures; here it has not been run."
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    return (
        "The cost is what a round of a DCGAN takes longer with it, or of the network in brackets where a "
        "DCGAN refuses it; `costs.csv` has the objective of each. It is the median of three ratios: "
        "tricks that can only add work come out as low as -5, so read differences of five points as none. "
        f"Measured on {machines}."
    )


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def overview(tricks: list[str], refused: set[tuple[str, str]]) -> list[str]:
    rows = []
    found = {row["trick"]: cost(row) for row in costs()}
    for trick in tricks:
        made = trick_class(trick)
        sentence, paper = what(made)
        apart = ", ".join(f"`{name}`" for name in tricks if tuple(sorted((trick, name))) in refused)
        named = ", ".join(f"`{hook}`" for hook in hooks(made))
        needed = ", ".join(settings(trick))
        rows.append([f"`{trick}`", sentence, paper, named, found.get(trick, ""), needed, apart])
    header = ["trick", "what it does", "paper", "hooks", "cost, %", "needs", "not beside"]
    return table(header, rows)


def matrix(tricks: list[str], refused: set[tuple[str, str]]) -> list[str]:
    objectives = options("objective")
    rows = [[f"`{trick}`", *("–" if (trick, o) in refused else "" for o in objectives)] for trick in tricks]
    return table(["", *(f"`{objective}`" for objective in objectives)], rows)


def tips() -> list[str]:
    rows = [
        [str(i), tip, f"`{' '.join(settings)}`", remark]
        for i, (tip, settings, remark) in enumerate(GANHACKS, 1)
    ]
    return table(["", "tip", "setting", ""], rows)


def document(refusals: Refusals) -> str:
    tricks = options("trick")
    parts = [
        INTRODUCTION,
        measured(costs()),
        "",
        *overview(tricks, refusals.pairs),
        "",
        "## Objectives",
        "",
        "`–`: the trick refuses this objective, and says why.",
        "",
        *matrix(tricks, refusals.objectives),
        "",
        "## ganhacks",
        "",
        "How to follow each of the seventeen tips of ganhacks (Chintala, Denton, Arjovsky & Mathieu 2016).",
        "",
        *tips(),
        "",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    README.write_text(document(built()))
    print(f"{README}: {len(options('trick'))} tricks")
