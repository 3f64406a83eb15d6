"""A sweep as its sweep.yaml says: a question, what may be changed, and by what it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ganlab.suites.page import Page, line
from ganlab.sweeps.parameters import Parameter, parameter
from ganlab.values import whole

FILE = "sweep.yaml"
NEEDED = ("question", "base", "metric", "trials", "seed", "parameters")
KNOWN = (*NEEDED, "prune")


@dataclass(frozen=True)
class Sweep:
    """A search for the values of parameters by which a metric is best.

    `seed` is the sampler's, `metric` is named as `monitor` takes it. From round `after` on hopeless runs are
    ended; None: none is. `lines` says where in the file a thing stands: "base", "parameters.trick.r1.gamma".
    """

    folder: Path
    name: str
    question: str
    base: list[str]
    metric: str
    trials: int
    seed: int
    parameters: dict[str, Parameter]
    after: int | None
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def results(self) -> Path:
        """The file with a row for each of its trials."""
        return self.folder / "results.csv"

    def at(self, place: str) -> str:
        """Where a thing stands, to begin a refusal with."""
        return f"{self.folder / FILE}, line {self.lines[place]}"

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """Of ganlab.run, for values of the parameters."""
        return [*self.base, *(f"{name}={chosen[name]}" for name in self.parameters)]

    @property
    def space(self) -> dict[str, dict[str, Any]]:
        """What the parameters may be, as plain values."""
        return {name: asdict(found) for name, found in self.parameters.items()}


def read(folder: str | Path) -> Sweep:
    """The sweep of a folder.

    Raises:
        Refused: it has none, or one that cannot be understood; the file, the line and the remedy are named.
    """
    folder = Path(folder)
    page = Page(folder / FILE, "sweep")
    top = page.entries(page.root, "the sweep", KNOWN)
    if missing := [key for key in NEEDED if key not in top]:
        raise page.refusal(page.root, f"lacks {', '.join(missing)}: a sweep has {', '.join(NEEDED)}")
    parameters = page.entries(top["parameters"], "parameters")
    if not parameters:
        raise page.refusal(top["parameters"], "parameters is empty: name at least one, with its range")
    return Sweep(
        folder=folder,
        name=folder.resolve().name,
        question=page.text(top["question"], "question") or "",
        base=page.texts(top["base"], "base"),
        metric=page.text(top["metric"], "metric") or "",
        trials=count(page, "trials", top["trials"], 1),
        seed=count(page, "seed", top["seed"], 0),
        parameters={name: parameter(page, name, node) for name, node in parameters.items()},
        after=after(page, top["prune"]) if "prune" in top else None,
        lines={key: line(node) for key, node in top.items()}
        | {f"parameters.{name}": line(node) for name, node in parameters.items()},
    )


def count(page: Page, name: str, node: yaml.Node, least: int) -> int:
    value = page.value(node)
    if not whole(value) or value < least:
        raise page.refusal(node, f"{name}: {value} must be a whole number of at least {least}")
    return value


def after(page: Page, node: yaml.Node) -> int:
    """From which round on hopeless runs are ended."""
    parts = page.entries(node, "prune", ("after",))
    if "after" not in parts:
        raise page.refusal(node, "prune lacks after: the rounds before which no run is ended")
    return count(page, "prune.after", parts["after"], 0)
