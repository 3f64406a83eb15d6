"""A sweep as its sweep.yaml says, and its trials as the rows of its results.csv."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlab.core.validation import Count, Whole
from ganlab.suites.page import Asked, Page
from ganlab.suites.results import Record
from ganlab.sweeps.parameters import Parameter, parameter

FILE = "sweep.yaml"
MOVE_AWAY = "give what was changed a folder of its own, or move results.csv away"  # a remedy
NEEDED = ("question", "base", "metric", "trials", "seed", "parameters")


@dataclass(frozen=True, kw_only=True)
class Sweep(Asked):
    """A search for the values of parameters by which a metric is best.

    `seed` is the sampler's, `metric` is named as `monitor` takes it. From round `after` on hopeless runs are
    ended; None: none is.
    """

    metric: str
    trials: int
    seed: int
    parameters: dict[str, Parameter]
    after: int | None

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """Of ganlab.run, for values of the parameters."""
        return [*self.base, *(f"{name}={chosen[name]}" for name in self.parameters)]


def read(folder: str | Path) -> Sweep:
    """The sweep of a folder.

    Raises:
        ConfigError: it has none, or one that cannot be understood; the file, the line and the remedy are
            named.
    """
    page = Page(Path(folder) / FILE, "sweep")
    top = page.entries(page.root, "the sweep", NEEDED, ["prune"])
    parameters = page.entries(top["parameters"], "parameters")
    page.require(parameters, top["parameters"], "parameters is empty: name at least one, with its range")
    prune = page.entries(top["prune"], "prune", ("after",), ()) if "prune" in top else None
    return Sweep(
        **page.asked(top, "parameters"),
        metric=page.text(top["metric"], "metric") or "",
        trials=page.plain(top["trials"], "trials", Count),
        seed=page.plain(top["seed"], "seed", Whole),
        parameters={name: parameter(page, name, node) for name, node in parameters.items()},
        after=page.plain(prune["after"], "prune.after", Whole) if prune else None,
    )


@dataclass(frozen=True, kw_only=True)
class Tried(Record):
    """One trial of a sweep."""

    whose = "a sweep"
    statuses = ("finished", "pruned", "failed", "diverged")  # pruned: ended early, for it was hopeless
    columns = "trial status value parameters reason course space seed config data code commit steps images"
    columns += " seconds device finished metrics numerics"

    trial: int  # its number, from 0 on
    parameters: dict[str, Any]  # what was tried, by name
    course: dict[str, float]  # the metric by the round of each evaluation
    space: str  # the hash of all that trials have in common

    @property
    def judged(self) -> float | None:
        """The value, where there is one that can be compared."""
        known = self.status == "finished" and self.value is not None and math.isfinite(self.value)
        return self.value if known else None

    @property
    def last(self) -> float | None:
        """What was measured last, where that is a number."""
        found = self.course[max(self.course, key=int)] if self.course else None
        return found if found is not None and math.isfinite(found) else None


def best(rows: Sequence[Tried], more: bool) -> list[Tried]:
    """The trials that have a value, the best first."""
    valued = [(row.judged, row) for row in rows if row.judged is not None]
    return [row for _, row in sorted(valued, key=lambda pair: pair[0], reverse=more)]
