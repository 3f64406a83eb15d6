"""Findings of a run: when a rule begins to hold, and when it no longer does."""

import re
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from ganlab.core.players import path
from ganlab.monitoring.rules import RULES, Rule

MAX_WINDOW = max(rule.window for rule in RULES)
PLUMBING = 1  # findings up to this priority explain all of higher ones


class Findings:
    """The findings of a run so far, and the latest numbers of each game, from which new findings follow.

    Attributes:
        found: all of them, in the order in which they began, as summary.json has them: name, begins, ends
            (None: it lasts), evidence, cause and remedy (None: none is known that fits).
    """

    def __init__(self) -> None:
        self.windows: dict[str, list[list[float]]] = {}  # the last steps and values of each number
        self.found: list[dict[str, Any]] = []

    def update(
        self, part: str, step: int, first_step: int, numbers: Mapping[str, float]
    ) -> Iterator[tuple[Rule, str, dict[str, Any]]]:
        """Enters the numbers of a step; yields each finding that begins or ends, with its rule and player.

        Args:
            first_step: the steps of the stages before the game, after which the steps of rules are counted.
        """
        for name, value in numbers.items():
            window = self.windows.setdefault(path(part, name), [])
            window.append([step - first_step, value])
            del window[:-MAX_WINDOW]
        players = [name.partition("/")[2] for name in numbers if name.startswith("change/")]
        for rule in RULES:
            is_general = not any("{player}" in name for name in rule.signature)
            for player in [""] if is_general else players:
                if (changed := self._changed(rule, part, step, player)) is not None:
                    yield rule, player, changed

    def _changed(self, rule: Rule, part: str, step: int, player: str) -> dict[str, Any] | None:
        """The finding of a rule, if it begins or ends at this step."""
        signature = {key.replace("{player}", player): limits for key, limits in rule.signature.items()}
        values = {}
        for name in signature:
            counted = [value for at, value in self.windows.get(path(part, name), []) if at > rule.after]
            if len(counted) < rule.window:
                return None
            values[name] = median(counted[-rule.window :])
        name, found = path(part, rule.name), self.find(path(part, rule.name), player)
        if found is None:
            highest = min((one["priority"] for one in self.open()), default=rule.priority)
            if not highest <= min(PLUMBING, rule.priority - 1) and all(
                beyond(values[key], *limits) for key, limits in signature.items()
            ):
                evidence = filled(rule.evidence, player, values)
                found = {"name": name, "begins": step, "ends": None, "evidence": evidence}
                found |= {"cause": rule.cause.replace("{player}", player), "remedy": None}
                self.found.append(found | {"player": player, "priority": rule.priority})
                return self.found[-1]
        elif any(beyond(values[key], end, begin) for key, (begin, end) in signature.items()):
            found["ends"] = step
            return found
        return None

    def open(self) -> list[dict[str, Any]]:
        """The findings that last, the most urgent first."""
        return sorted((one for one in self.found if one["ends"] is None), key=lambda one: one["priority"])

    def find(self, name: str, player: str) -> dict[str, Any] | None:
        """The finding of a name that lasts, if there is one."""
        return next((one for one in self.open() if (one["name"], one["player"]) == (name, player)), None)

    def diverged(self, step: int, evidence: str) -> None:
        """Adds the finding of a run that has ended as diverged, unless it was found before."""
        if not any(one["name"].endswith("diverging") for one in self.open()):
            cause = "a learning rate that is too high, or a loss without a bound"
            found = {"name": "diverging", "begins": step, "ends": None, "evidence": evidence, "cause": cause}
            self.found.append(found | {"remedy": None, "player": "", "priority": 0})

    def summary(self) -> list[dict[str, Any]]:
        """The findings as summary.json has them."""
        return [{key: one[key] for key in one if key not in ("player", "priority")} for one in self.found]


def beyond(value: float, threshold: float, other: float) -> bool:
    """Whether a value lies beyond a threshold, on the side away from the other one."""
    return value > threshold if threshold > other else value < threshold


def filled(text: str, player: str, values: Mapping[str, float]) -> str:
    """A text with its numbers, such as "{growth/{player}:.1f}"."""
    text = text.replace("{player}", player)
    return re.sub(r"\{([\w/]+):([^}]*)\}", lambda found: format(values[found[1]], found[2]), text)


def described(found: Mapping[str, Any]) -> str:
    """A finding in one line: since when it lasts, its evidence, and a remedy if one fits; or its end."""
    since = f"since step {found['begins']:,}"
    if found["ends"] is not None:
        return f"{found['name']} {since} ended at step {found['ends']:,}"
    remedy = f"; try {found['remedy']}" if found["remedy"] else ""
    return f"{found['name']} {since}: {found['evidence']}{remedy}"
