"""The rules of the health monitor, from the table rules.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml


class Rule(NamedTuple):
    """A rule; rules.yaml explains its fields."""

    name: str
    signature: Mapping[str, tuple[float, float]]
    evidence: str
    cause: str
    remedies: tuple[str, ...]
    priority: int
    window: int
    after: int


TABLE = Path(__file__).with_suffix(".yaml")
RULES = [Rule(name, **fields) for name, fields in yaml.safe_load(TABLE.read_text()).items()]
NAMES = [rule.name for rule in RULES]
