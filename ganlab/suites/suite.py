"""A suite as its suite.yaml says: a question, the runs that are to answer it, and what was published."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ganlab.errors import Refused
from ganlab.values import whole

FILE = "suite.yaml"
NEEDED = ("question", "base", "seeds", "metrics", "arms")
KNOWN = (*NEEDED, "budget", "reference", "source", "note")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of an arm, which names folders and pictures

Published = dict[str, tuple[float, float | None]]  # by metric: a value, and its +- where there is one


@dataclass(frozen=True)
class Arm:
    """What one row of the table changes in the base."""

    name: str
    overrides: list[str]
    published: Published


@dataclass(frozen=True)
class Suite:
    """A question, and the runs that are to answer it: each arm with each seed.

    `metrics` are named as `monitor` takes them, the first of them answers; other arms are compared with
    the arm `reference`. `lines` says where in the file a thing stands: "base", "arms.r1".
    """

    folder: Path
    name: str
    question: str
    base: list[str]
    seeds: list[int]
    metrics: list[str]
    budget: str | None
    reference: str
    source: str | None
    note: str | None
    arms: dict[str, Arm]
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def results(self) -> Path:
        """The file with a row for each of its runs."""
        return self.folder / "results.csv"

    def at(self, place: str) -> str:
        """Where a thing stands, to begin a refusal with."""
        line = self.lines.get(place)
        return f"{self.folder / FILE}" + ("" if line is None else f", line {line}")


def read(folder: str | Path) -> Suite:
    """The suite of a folder.

    Raises:
        Refused: it has none, or one that cannot be understood; the file, the line and the remedy are named.
    """
    folder = Path(folder)
    page = Page(folder / FILE)
    top = page.entries(page.root, "the suite", KNOWN)
    if missing := [key for key in NEEDED if key not in top]:
        raise page.refusal(page.root, f"lacks {', '.join(missing)}: a suite has {', '.join(NEEDED)}")
    arms = page.entries(top["arms"], "arms")
    if not arms:
        raise page.refusal(top["arms"], "arms is empty: give at least one, such as `plain: {}`")
    metrics = page.texts(top["metrics"], "metrics")
    if not metrics:
        raise page.refusal(top["metrics"], "metrics is empty: name the one that answers the question")
    reference = page.text(top.get("reference"), "reference") or next(iter(arms))
    if reference not in arms:
        raise page.refusal(
            top["reference"], f"reference: {reference} is no arm: choose one of {', '.join(arms)}"
        )
    read_arms = {name: page.arm(name, node, metrics) for name, node in arms.items()}
    source = page.text(top.get("source"), "source")
    for name, arm in read_arms.items():
        if arm.published and source is None:
            raise page.refusal(arms[name], f"arms.{name} has published values: say in `source` where")
    return Suite(
        folder=folder,
        name=folder.resolve().name,
        question=page.text(top["question"], "question") or "",
        base=page.texts(top["base"], "base"),
        seeds=page.seeds(top["seeds"]),
        metrics=metrics,
        budget=page.text(top.get("budget"), "budget"),
        reference=reference,
        source=source,
        note=page.text(top.get("note"), "note"),
        arms=read_arms,
        lines={key: line(node) for key, node in top.items()}
        | {f"arms.{name}": line(node) for name, node in arms.items()},
    )


class Page:
    """A YAML file of which every part knows its line."""

    def __init__(self, file: Path):
        self.file = file
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(
                f"suite={file.parent} has no {FILE} that can be read: give a folder with one, such as "
                "experiments/<name>"
            ) from error
        try:
            self.root = yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{file}" if mark is None else f"{file}, line {mark.line + 1}"
            what = " ".join(str(getattr(error, "problem", None) or error).split())
            raise Refused(f"{place}: {what}; quote what holds brackets, commas or colons") from error

    def refusal(self, node: yaml.Node | None, message: str) -> Refused:
        place = f"{self.file}" if node is None else f"{self.file}, line {line(node)}"
        return Refused(f"{place}: {message}")

    def value(self, node: yaml.Node) -> Any:
        try:
            return yaml.SafeLoader("").construct_document(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self.refusal(node, "is no plain value: write a text, a number or a list") from error

    def entries(
        self, node: yaml.Node | None, what: str, known: Collection[str] | None = None
    ) -> dict[str, yaml.Node]:
        """The parts of a mapping by their names, each once."""
        if not isinstance(node, yaml.MappingNode):
            raise self.refusal(node, f"{what} must be a mapping: write `name: value` lines")
        found: dict[str, yaml.Node] = {}
        for key_node, child in node.value:
            key = self.value(key_node)
            if not isinstance(key, str):
                raise self.refusal(key_node, f"{key} is no name: quote it")
            if known is not None and key not in known:
                raise self.refusal(key_node, f"{key} is unknown in {what}: choose from {', '.join(known)}")
            if key in found:
                raise self.refusal(key_node, f"{key} stands twice in {what}: leave one of them out")
            found[key] = child
        return found

    def text(self, node: yaml.Node | None, what: str) -> str | None:
        value = None if node is None else self.value(node)
        if node is not None and (not isinstance(value, str) or not value.strip()):
            raise self.refusal(node, f"{what}: {value} must be a text: quote it, or leave it out")
        return value if value is None else " ".join(value.split())

    def texts(self, node: yaml.Node, what: str) -> list[str]:
        """A list of texts, each once."""
        value = self.value(node)
        if not isinstance(value, list):
            raise self.refusal(node, f"{what}: {value} must be a list, such as [model=dcgan, 'metric=[fid]']")
        for i, entry in enumerate(value):
            if not isinstance(entry, str) or not entry:
                raise self.refusal(
                    node, f"{what}: {entry} must be a text; quote it, as one writes it in YAML"
                )
            if entry in value[:i]:
                raise self.refusal(node, f"{what}: {entry} stands there twice: leave one of them out")
        return value

    def seeds(self, node: yaml.Node) -> list[int]:
        value = self.value(node)
        if whole(value) and value >= 1:
            return list(range(value))
        if not isinstance(value, list) or not value or not all(whole(seed) and seed >= 0 for seed in value):
            raise self.refusal(
                node, f"seeds: {value} must be a number of seeds, or a list of whole numbers of at least 0"
            )
        if len(set(value)) < len(value):
            raise self.refusal(node, f"seeds: {value} has one twice: the same run counts once")
        return value

    def arm(self, name: str, node: yaml.Node, metrics: list[str]) -> Arm:
        if not NAME.fullmatch(name):
            raise self.refusal(
                node, f"arm {name} names folders: write it with letters, digits, dots, - and _ only"
            )
        if isinstance(node, yaml.ScalarNode) and self.value(node) is None:
            return Arm(name, [], {})
        parts = self.entries(node, f"arms.{name}", ("overrides", "published"))
        overrides = self.texts(parts["overrides"], f"arms.{name}.overrides") if "overrides" in parts else []
        return Arm(name, overrides, self.published(name, parts.get("published"), metrics))

    def published(self, name: str, node: yaml.Node | None, metrics: list[str]) -> Published:
        found: Published = {}
        what = f"arms.{name}.published"
        for metric, child in ({} if node is None else self.entries(node, what)).items():
            if metric not in metrics:
                raise self.refusal(
                    child, f"{what}: {metric} is not in metrics: choose from {', '.join(metrics)}"
                )
            value = self.value(child)
            pair = value if isinstance(value, list) else [value, None]
            if len(pair) != 2 or not real(pair[0]) or not (pair[1] is None or real(pair[1])):
                raise self.refusal(
                    child, f"{what}.{metric}: {value} must be a number, or [number, its +- or null]"
                )
            found[metric] = (float(pair[0]), None if pair[1] is None else float(pair[1]))
        return found


def line(node: yaml.Node) -> int:
    """The line of a part of a file, counted from 1."""
    return int(node.start_mark.line) + 1


def real(value: object) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
