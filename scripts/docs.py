"""python scripts/docs.py: writes ganlab/tricks/README.md, a page with every trick.

The page is generated from the docstrings and hooks of the tricks, and from their costs in costs.csv, which
`python scripts/bench_tricks.py` measures. The objectives and other tricks that a trick refuses are found by
building each combination, and stored in tests/support/refused_combinations.json for the page and the tests.
"""

from __future__ import annotations

import inspect
import json
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

from ganhacks import GANHACKS
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from ganlab.config.build import build_game, instantiate
from ganlab.config.compose import CONF, compose
from ganlab.config.load import build_run
from ganlab.config.prepare import build_phases
from ganlab.core.capability import Capability
from ganlab.core.errors import ConfigError
from ganlab.help import summary as sentence_and_paper
from ganlab.listings import cost_cell, cost_note, read_costs
from ganlab.training.module import Phase
from ganlab.tricks.base import Trick

ROOT = Path(__file__).parent.parent
REFUSED = ROOT / "tests" / "support" / "refused_combinations.json"
README = ROOT / "ganlab" / "tricks" / "README.md"
# A small game that as few tricks as possible refuse: batch norm in the generator, images with even sides.
SMALL = (
    "logger=csv",
    "model.generator.hidden=[16]",
    "model.generator.batch_norm=true",
    "model.discriminator.hidden=[16]",
)
# Games of other kinds than those of `SMALL`, in which every trick acts or is refused.
HOMES = {
    "pix2pix": ("experiment=pix2pix_digits",),
    "pix2pix_of_paper": ("data=half_digits", "model=pix2pix", "model.discriminator.receptive_field=16"),
    "inpainting": ("data=masked", "data.kind=pixels", "model=pix2pix_small"),
    "cyclegan": ("experiment=cyclegan_digits",),
    "vae_gan": ("experiment=vae_gan_digits", "data.labelled=10", "model.generator.batch_norm=true"),
    "ali": ("experiment=ali_digits", "data.labelled=10"),
    "gain": ("experiment=gain_digits",),
    "imle_ring": ("experiment=imle_ring",),
    "f_anogan": ("experiment=encoder_digits", "borrows.game=<run_dir>"),
    "two_stages": ("experiment=two_stages_digits", "data.labelled=10"),
}
# The capabilities that depend on the data, the hardware or the compiler, and not on the objective.
SETTINGS_CAPABILITIES = (
    Capability.CLASSES,
    Capability.LABELS,
    Capability.LABELLED_BATCH,
    Capability.ONE_PROCESS,
    Capability.SECOND_DERIVATIVES,
    Capability.PAIRS,
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


def option_names(group: str) -> list[str]:
    """The names of the options of a group of configs, such as "trick", sorted."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def compose_small(*overrides: str) -> DictConfig:
    """The config of a small game. Cached, since composing takes a hundred times as long as building."""
    cfg = compose(*SMALL, *overrides)
    OmegaConf.resolve(cfg)
    return cfg


def compose_home(home: str) -> DictConfig:
    return compose(*HOMES[home], "logger=csv")


@cache
def is_refused(objective: str, *tricks: str) -> bool:
    """Whether a game with this objective and these tricks is refused."""
    needs_mask = any(getattr(trick_class(trick), "needs_mask", False) for trick in tricks)
    if needs_mask or any(Capability.PAIRS in trick_class(trick).needs for trick in tricks):
        home = HOMES["inpainting" if needs_mask else "pix2pix"]
        cfg = compose(*home, f"objective={objective}", "logger=csv")
    elif objective in HOMES:  # an objective that needs its own model
        cfg = compose_home(objective)
    else:
        cfg = compose_small().copy()
        cfg.data.labelled = 10
        cfg.objective = compose_small(f"objective={objective}").objective
    return is_refused_in(cfg, *tricks)


@cache
def trick_config(trick: str) -> DictConfig:
    """The config of a trick, which refers to that of a whole run."""
    return compose(*SMALL, f"trick={trick}").trick


def is_refused_in(cfg: DictConfig, *tricks: str) -> bool:
    """Whether a run with this config, but with these tricks, is refused."""
    cfg.trick = OmegaConf.merge({}, *map(trick_config, tricks))
    try:
        # What is borrowed is the default game, in the place of the run that a user names.
        if cfg.borrows:
            build_game(cfg, lenders=dict.fromkeys(cfg.borrows, build_game(compose_small())))
        else:
            build_phases(cfg, build_run(cfg), Phase)
    except ConfigError:
        return True
    return False


def common_objective(*tricks: str) -> str | None:
    """An objective that accepts each trick alone, preferably non_saturating; None if there is none."""
    for objective in ("non_saturating", *option_names("objective")):
        if not any(is_refused(objective, trick) for trick in tricks):
            return objective
    return None


def can_be_combined(*tricks: str) -> bool:
    """Whether a game with an objective that accepts each of the tricks accepts all of them together."""
    objective = common_objective(*tricks)
    return objective is not None and not is_refused(objective, *sorted(tricks))


class Refused(NamedTuple):
    """The combinations that are refused: of a trick with an objective, another trick, or a game."""

    objectives: set[tuple[str, str]]  # (trick, objective)
    pairs: set[tuple[str, str]]  # (trick, other trick), in alphabetical order
    homes: set[tuple[str, str]]  # (trick, home)


def find_refused() -> Refused:
    """Finds the refused combinations by building each one; takes minutes."""
    tricks = option_names("trick")
    choices = product(tricks, option_names("objective"))
    return Refused(
        {(trick, objective) for trick, objective in choices if is_refused(objective, trick)},
        {pair for pair in combinations(tricks, 2) if not can_be_combined(*pair)},
        {(trick, home) for trick in tricks for home in HOMES if is_refused_in(compose_home(home), trick)},
    )


def write_refused(refused: Refused) -> None:
    """Writes, for each field of `refused`, a mapping of each trick to the list of what it refuses."""
    fields: dict[str, dict[str, list[str]]] = {}
    for field, combinations_of_field in refused._asdict().items():
        fields[field] = {}
        for trick, other in sorted(combinations_of_field):
            fields[field].setdefault(trick, []).append(other)
    REFUSED.write_text(json.dumps(fields, indent=2) + "\n")


def read_refused() -> Refused:
    fields = {}
    for field, others_by_trick in json.loads(REFUSED.read_text()).items():
        fields[field] = {(trick, other) for trick, others in others_by_trick.items() for other in others}
    return Refused(**fields)


def trick_class(trick: str) -> type[Trick]:
    return get_class(compose_small(f"trick={trick}").trick[trick]._target_)


def overridden_hooks(trick: type[Trick]) -> list[str]:
    """The names of the hooks of `Trick` that a trick overrides."""
    methods = [name for name, _ in inspect.getmembers(Trick, inspect.isfunction) if name in vars(Trick)]
    hooks = [name for name in methods if name not in ("__init__", "set_extra_state")]
    return [name for name in hooks if getattr(trick, name) is not getattr(Trick, name)]


def needed_settings(trick: str) -> list[str]:
    """The capabilities of settings that a trick needs or claims if its own settings are the default ones."""
    instance: Trick = instantiate(compose_small(f"trick={trick}").trick[trick])
    needed = instance.needs | instance.claims
    return [str(capability) for capability in SETTINGS_CAPABILITIES if capability in needed]


def summary(trick: type[Trick]) -> tuple[str, str]:
    """The first sentence of a trick's docstring without the paper that it cites, and the paper."""
    sentence, paper = sentence_and_paper(inspect.getdoc(trick) or "")
    return sentence.replace("|", "\\|"), paper


def markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def trick_table(tricks: list[str], refused: set[tuple[str, str]]) -> list[str]:
    rows = []
    costs = {row["trick"]: cost_cell(row) for row in read_costs()}
    for trick in tricks:
        sentence, paper = summary(trick_class(trick))
        others = ", ".join(f"`{name}`" for name in tricks if tuple(sorted((trick, name))) in refused)
        hooks = ", ".join(f"`{hook}`" for hook in overridden_hooks(trick_class(trick)))
        needs = ", ".join(needed_settings(trick))
        rows.append([f"`{trick}`", sentence, paper, hooks, costs.get(trick, ""), needs, others])
    header = ["trick", "what it does", "paper", "hooks", "cost, %", "needs", "refuses"]
    return markdown_table(header, rows)


def table_of_refusals(tricks: list[str], columns: list[str], refused: set[tuple[str, str]]) -> list[str]:
    rows = [[f"`{trick}`", *("–" if (trick, c) in refused else "" for c in columns)] for trick in tricks]
    return markdown_table(["", *(f"`{column}`" for column in columns)], rows)


def ganhacks_table() -> list[str]:
    rows = [
        [str(i), tip, f"`{' '.join(settings)}`", remark]
        for i, (tip, settings, remark) in enumerate(GANHACKS, 1)
    ]
    return markdown_table(["", "tip", "setting", ""], rows)


def page(refused: Refused) -> str:
    tricks = option_names("trick")
    lines = [
        INTRODUCTION,
        cost_note(read_costs()),
        "",
        *trick_table(tricks, refused.pairs),
        "",
        "## Objectives",
        "",
        "`–`: the trick refuses this objective, in a message with the reason.",
        "",
        *table_of_refusals(tricks, option_names("objective"), refused.objectives),
        "",
        "## Other games",
        "",
        "`–`: the trick is refused in this game, in a message with the reason.",
        "",
        *table_of_refusals(tricks, list(HOMES), refused.homes),
        "",
        "## ganhacks",
        "",
        "Settings for each of the seventeen tips of ganhacks (Chintala, Denton, Arjovsky & Mathieu 2016).",
        "",
        *ganhacks_table(),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    write_refused(find_refused())
    README.write_text(page(read_refused()))
    print(f"{README}: {len(option_names('trick'))} tricks")
