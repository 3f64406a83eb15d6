"""A suite as its suite.yaml says: a question, the runs that are to answer it, and what was published."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from ganlab.core.validation import Count, Whole
from ganlab.suites.page import Asked, Page

FILE = "suite.yaml"
NEEDED = ("question", "base", "seeds", "metrics", "arms")
MORE = ("budget", "reference", "order", "source", "note")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of an arm, which names folders and pictures

Published = dict[str, tuple[float, float | None]]  # by metric: a value, and its +- where there is one


@dataclass(frozen=True)
class Arm:
    """What one row of the table changes in the base."""

    name: str
    overrides: list[str]
    published: Published


@dataclass(frozen=True, kw_only=True)
class Suite(Asked):
    """A question, and the runs that are to answer it: each arm with each seed.

    `metrics` are named as `monitor` takes them, the first of them answers; other arms are compared with
    the arm `reference`. `order` are arms as they were published, best first, where the question is whether
    they come in this order; else it is empty.
    """

    seeds: list[int]
    metrics: list[str]
    budget: str | None
    reference: str
    order: list[str]
    source: str | None
    note: str | None
    arms: dict[str, Arm]

    @property
    def comparisons(self) -> int:
        """How many arms are compared in the end: what p-values are corrected for from the first run on."""
        return len(self.arms) - 1


def read(folder: str | Path) -> Suite:
    """The suite of a folder.

    Raises:
        ConfigError: it has none, or one that cannot be understood; the file, the line and the remedy are
            named.
    """
    page = Page(Path(folder) / FILE, "suite")
    top = page.entries(page.root, "the suite", NEEDED, MORE)
    arms = page.entries(top["arms"], "arms")
    page.require(arms, top["arms"], "arms is empty: give at least one, such as `plain: {}`")
    metrics = page.texts(top["metrics"], "metrics")
    page.require(metrics, top["metrics"], "metrics is empty: name the one that answers the question")
    reference = page.text(top.get("reference"), "reference") or next(iter(arms))
    no_arm = f"reference: {reference} is no arm: choose one of {', '.join(arms)}"
    page.require(reference in arms, top.get("reference"), no_arm)
    read_arms = {name: arm(page, name, node, metrics) for name, node in arms.items()}
    source = page.text(top.get("source"), "source")
    for name, found in read_arms.items():
        unsaid = f"arms.{name} has published values: say in `source` where"
        page.require(source or not found.published, arms[name], unsaid)
    return Suite(
        **page.asked(top, "arms"),
        seeds=seeds(page, top["seeds"]),
        metrics=metrics,
        budget=page.text(top.get("budget"), "budget"),
        reference=reference,
        order=order(page, top.get("order"), list(arms)),
        source=source,
        note=page.text(top.get("note"), "note"),
        arms=read_arms,
    )


def seeds(page: Page, node: yaml.Node) -> list[int]:
    value = page.plain(node, "seeds", Count | list[Whole])
    found = value if isinstance(value, list) else list(range(value))
    wrong = f"seeds: {value} must be one or more, each once: the same run counts once"
    page.require(found and len(set(found)) == len(found), node, wrong)
    return found


def order(page: Page, node: yaml.Node | None, arms: list[str]) -> list[str]:
    found = [] if node is None else page.texts(node, "order")
    if unknown := [name for name in found if name not in arms]:
        raise page.refusal(node, f"order: {unknown[0]} is no arm: choose from {', '.join(arms)}")
    enough = node is None or len(found) > 1
    page.require(enough, node, "order: give at least two arms, best first, or leave it out")
    return found


def arm(page: Page, name: str, node: yaml.Node, metrics: list[str]) -> Arm:
    wrong = f"arm {name} names folders: write it with letters, digits, dots, - and _ only"
    page.require(NAME.fullmatch(name), node, wrong)
    if isinstance(node, yaml.ScalarNode) and page.value(node) is None:
        return Arm(name, [], {})
    parts = page.entries(node, f"arms.{name}", more=("overrides", "published"))
    overrides = page.texts(parts["overrides"], f"arms.{name}.overrides") if "overrides" in parts else []
    return Arm(name, overrides, published(page, name, parts.get("published"), metrics))


def published(page: Page, name: str, node: yaml.Node | None, metrics: list[str]) -> Published:
    found: Published = {}
    what = f"arms.{name}.published"
    for metric, child in ({} if node is None else page.entries(node, what)).items():
        unknown = f"{what}: {metric} is not in metrics: choose from {', '.join(metrics)}"
        page.require(metric in metrics, child, unknown)
        value = page.plain(child, f"{what}.{metric}", float | tuple[float, float | None])
        number, margin = value if isinstance(value, list) else (value, None)
        found[metric] = (float(number), None if margin is None else float(margin))
    return found
