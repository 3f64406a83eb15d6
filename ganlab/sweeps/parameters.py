"""What a sweep may set a parameter to: numbers of a range, or one of some texts."""

import math
from dataclasses import dataclass
from typing import Any

import yaml

from ganlab.config.setting_types import matches
from ganlab.core.validation import is_integer
from ganlab.suites.page import Page

NEAR = 1e-9  # of a step: what counts as no rest


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both of them possible; whole ones where low, high and step are."""

    low: float
    high: float
    log: bool
    step: float | None

    @property
    def whole(self) -> bool:
        return all(is_integer(part) for part in (self.low, self.high, self.step))

    @property
    def tried(self) -> list[str]:
        """The texts of what is tried out before anything runs."""
        return [repr(self.low), repr(self.high)]

    @property
    def usual(self) -> str:
        """The text of the middle."""
        if self.steps:
            return repr(self.steps[len(self.steps) // 2])
        return repr(math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2)

    @property
    def steps(self) -> list[float]:
        """All that it may be, where it goes in steps."""
        if self.step is None:
            return []
        return [self.low + i * self.step for i in range(round((self.high - self.low) / self.step) + 1)]


@dataclass(frozen=True)
class Choice:
    """One of some texts, as they stand behind the equals sign of an override."""

    texts: tuple[str, ...]

    @property
    def tried(self) -> list[str]:
        return list(self.texts)

    @property
    def usual(self) -> str:
        return self.texts[0]


Parameter = Range | Choice


def parameter(page: Page, name: str, node: yaml.Node) -> Parameter:
    """A parameter from its part of a sweep's file."""
    if isinstance(node, yaml.SequenceNode):
        return choice(page, name, node)
    return numbers(page, name, node)


def choice(page: Page, name: str, node: yaml.SequenceNode) -> Choice:
    texts = []
    for part in node.value:
        no_text = f"{name}: a choice must be a text, as it stands in an override: quote it, '[r1,ema]'"
        page.require(isinstance(part, yaml.ScalarNode) and part.value, part, no_text)
        twice = f"{name}: {part.value} stands there twice: leave one of them out"
        page.require(part.value not in texts, part, twice)
        texts.append(str(part.value))
    page.require(len(texts) > 1, node, f"{name} has nothing to choose from: give two, or put it into base")
    return Choice(tuple(texts))


def numbers(page: Page, name: str, node: yaml.Node) -> Range:
    is_range = isinstance(node, yaml.MappingNode)
    page.require(is_range, node, f"{name} must be a list of choices, or {{low: .., high: ..}}")
    parts = page.entries(node, name, ("low", "high"), ("log", "step"))
    low, high = number(page, name, "low", parts["low"]), number(page, name, "high", parts["high"])
    page.require(low < high, parts["low"], f"{name}: low={low} must be below high={high}")
    log = "log" in parts and page.plain(parts["log"], f"{name}.log", bool)
    page.require(low > 0 or not log, parts["low"], f"{name}: low={low} must be above 0 where log is true")
    if "step" not in parts:
        return Range(float(low), float(high), log, None)
    step = number(page, name, "step", parts["step"])
    page.require(not log, parts["step"], f"{name}: step and log exclude each other: leave one of them out")
    page.require(step > 0, parts["step"], f"{name}: step={step} must be above 0")
    count = (high - low) / step
    if abs(count - round(count)) > NEAR * max(count, 1) or round(count) < 1:
        reach = low + max(math.floor(count), 1) * step
        wrong = f"{name}: no number of steps of {step} leads from {low} to {high}: high={reach:g} would do"
        raise page.refusal(parts["high"], wrong)
    return Range(low, high, log, step)


def number(page: Page, name: str, key: str, node: yaml.Node) -> float:
    """A number; YAML takes 1e-5 for a text."""
    value: Any = page.value(node)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    page.require(matches(value, float), node, f"{name}: {key}={page.value(node)} must be a number")
    return value
