"""Findings of a run: when a rule begins to hold, and when it no longer does."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import yaml

from ganlab.core.players import path

TABLE = Path(__file__).with_name("rules.yaml")  # which explains the attributes of a rule
RULES = [SimpleNamespace(name=name, **fields) for name, fields in yaml.safe_load(TABLE.read_text()).items()]
NAMES = [rule.name for rule in RULES]
MAX_WINDOW = max(rule.window for rule in RULES)
PLUMBING = 1  # findings up to this priority explain all of higher ones
ENTRIES = ("name", "begins", "ends", "evidence", "cause", "remedy")  # of a finding in summary.json
Found = dict[str, Any]
Numbers = Mapping[str, float]


class Findings:
    """The findings of a run so far, and the latest numbers of each game, from which new findings follow.

    Attributes:
        found: all of them, in the order in which they began: the entries of summary.json, which are name,
            begins, ends (None: it lasts), evidence, cause and remedy (None: none is known that fits); and
            `player` and `priority`.
    """

    def __init__(self) -> None:
        self.windows: dict[str, list[list[float]]] = {}  # the last steps and values of each number
        self.found: list[Found] = []

    def update(self, part: str, step: int, own_step: int, numbers: Numbers) -> Iterator[tuple[Any, Found]]:
        """Enters the numbers of a step; yields each finding that begins or ends, with its rule.

        Args:
            own_step: the step counted from the beginning of the game, as that of rules is.
        """
        for name, value in numbers.items():
            window = self.windows.setdefault(path(part, name), [])
            window.append([own_step, value])
            del window[:-MAX_WINDOW]
        players = [name.partition("/")[2] for name in numbers if name.startswith("growth/")]
        for rule in RULES:
            for player in players if "{player}" in str(rule.signature) else [""]:
                if (changed := self._changed(rule, part, step, player)) is not None:
                    yield rule, changed

    def _changed(self, rule: Any, part: str, step: int, player: str) -> Found | None:
        """The finding of a rule, if it begins or ends at this step."""
        signature = {key.replace("{player}", player): limits for key, limits in rule.signature.items()}
        windows = {key: self.windows.get(path(part, key), [])[-rule.window :] for key in signature}
        if any(len(own) < rule.window or own[0][0] <= rule.after for own in windows.values()):
            return None
        values = {key: median(value for _, value in own) for key, own in windows.items()}
        name = path(part, rule.name)
        for found in self.open():
            if (found["name"], found["player"]) == (name, player):
                has_ended = any(beyond(values[key], end, begin) for key, (begin, end) in signature.items())
                found["ends"] = step if has_ended else None
                return found if has_ended else None
        is_hidden = any(found["priority"] <= min(PLUMBING, rule.priority - 1) for found in self.open())
        if is_hidden or not all(beyond(values[key], *limits) for key, limits in signature.items()):
            return None
        text = rule.evidence.replace("{player}", player)  # with numbers such as {growth/generator:.1f}
        evidence = re.sub(r"\{([\w/]+):(.*?)\}", lambda place: format(values[place[1]], place[2]), text)
        return self._add(rule, name, step, evidence, player)

    def _add(self, rule: Any, name: str, step: int, evidence: str, player: str = "") -> Found:
        values = (name, step, None, evidence, rule.cause.replace("{player}", player), None)
        found = dict(zip(ENTRIES, values, strict=True)) | {"player": player, "priority": rule.priority}
        self.found.append(found)
        return found

    def open(self) -> list[Found]:
        """The findings that last, the most urgent first."""
        return sorted((one for one in self.found if one["ends"] is None), key=lambda one: one["priority"])

    def diverged(self, step: int, message: str) -> Iterator[tuple[Any, Found]]:
        """Adds and yields the finding of a run that diverged, with its rule, unless it is one already."""
        if not any(one["name"].endswith("diverging") or one["name"] in message for one in self.open()):
            rule = RULES[NAMES.index("diverging")]
            yield rule, self._add(rule, rule.name, step, message)

    def summary(self) -> list[Found]:
        """The findings as summary.json has them."""
        return [{key: one[key] for key in ENTRIES} for one in self.found]


def beyond(value: float, threshold: float, other: float) -> bool:
    """Whether a value lies beyond a threshold, on the side away from the other one."""
    return value > threshold if threshold > other else value < threshold


def described(found: Mapping[str, Any]) -> str:
    """A finding in one line: since when it lasts, its evidence, and a remedy if one fits; or its end."""
    since = f"{found['name']} since step {found['begins']:,}"
    if found["ends"] is not None:
        return f"{since} ended at step {found['ends']:,}"
    return f"{since}: {found['evidence']}" + (f"; try {found['remedy']}" if found["remedy"] else "")
