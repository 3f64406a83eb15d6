"""A YAML file that somebody has written by hand, refused by its line where it cannot be understood."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ganlab.config.setting_types import describe_type, matches
from ganlab.core.errors import ConfigError, require

Names = Collection[str]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a folder asks by the file in it: a question, and overrides that all of its runs share.

    `lines` says where in the file a thing stands: "base", "arms.r1", "parameters.trick.r1.gamma".
    """

    file: Path
    folder: Path
    name: str
    question: str
    base: list[str]
    lines: Mapping[str, int] = field(compare=False, repr=False)

    @property
    def results(self) -> Path:
        """The file with a row for each of its runs."""
        return self.folder / "results.csv"

    def at(self, place: str) -> str:
        """Where a thing stands, to begin a refusal with."""
        line = self.lines.get(place)
        return f"{self.file}" + ("" if line is None else f", line {line}")


class Page:
    """A YAML file of which every part knows its line; `setting` is what names its folder."""

    def __init__(self, file: Path, setting: str):
        self.file, self.setting = file, setting
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = f"{setting}={file.parent} has no {file.name} that can be read"
            raise ConfigError(f"{reason}: give a folder with one, such as experiments/<name>") from error
        try:
            self.root = yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{file}" if mark is None else f"{file}, line {mark.line + 1}"
            what = " ".join(str(getattr(error, "problem", None) or error).split())
            raise ConfigError(f"{place}: {what}; quote what holds brackets, commas or colons") from error

    def refusal(self, node: yaml.Node | None, message: str) -> ConfigError:
        place = f"{self.file}" if node is None else f"{self.file}, line {line(node)}"
        return ConfigError(f"{place}: {message}")

    def require(self, condition: object, node: yaml.Node | None, message: str) -> None:
        """Raises the refusal unless the condition holds."""
        if not condition:
            raise self.refusal(node, message)

    def value(self, node: yaml.Node) -> Any:
        try:
            return yaml.SafeLoader("").construct_document(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self.refusal(node, "is no plain value: write a text, a number or a list") from error

    def entries(
        self, node: yaml.Node | None, what: str, needed: Names = (), more: Names | None = None
    ) -> dict[str, yaml.Node]:
        """The parts of a mapping by their names, each once.

        Args:
            needed: those that must be there.
            more: those that may; None: any.
        """
        if not isinstance(node, yaml.MappingNode):
            raise self.refusal(node, f"{what} must be a mapping: write `name: value` lines")
        found: dict[str, yaml.Node] = {}
        for key_node, child in node.value:
            key = self.value(key_node)
            self.require(isinstance(key, str), key_node, f"{key} is no name: quote it")
            if more is not None and key not in (known := (*needed, *more)):
                raise self.refusal(key_node, f"{key} is unknown in {what}: choose from {', '.join(known)}")
            self.require(key not in found, key_node, f"{key} stands twice in {what}: leave one of them out")
            found[key] = child
        if missing := [key for key in needed if key not in found]:
            raise self.refusal(node, f"{what} lacks {', '.join(missing)}: it needs {', '.join(needed)}")
        return found

    def asked(self, top: Mapping[str, yaml.Node], group: str) -> dict[str, Any]:
        """What `Asked` has of the parts of the whole; those of one group have lines of their own."""
        inside = {f"{group}.{name}": node for name, node in self.entries(top[group], group).items()}
        return {
            "file": self.file,
            "folder": self.file.parent,
            "name": self.file.parent.resolve().name,
            "question": self.text(top["question"], "question") or "",
            "base": self.texts(top["base"], "base"),
            "lines": {key: line(node) for key, node in {**top, **inside}.items()},
        }

    def plain(self, node: yaml.Node, what: str, kind: Any) -> Any:
        """A value of a kind, as `ganlab.config.setting_types` has them."""
        value = self.value(node)
        self.require(matches(value, kind), node, f"{what}: {value} must be {describe_type(kind)}")
        return value

    def text(self, node: yaml.Node | None, what: str) -> str | None:
        value = None if node is None else self.value(node)
        if node is not None and (not isinstance(value, str) or not value.strip()):
            raise self.refusal(node, f"{what}: {value} must be a text: quote it, or leave it out")
        return value if value is None else " ".join(value.split())

    def texts(self, node: yaml.Node, what: str) -> list[str]:
        """A list of texts, each once."""
        value: list[str] = self.plain(node, what, list[str])
        for entry in value:
            fault = "stands there twice" if entry else "is empty"
            self.require(entry and value.count(entry) == 1, node, f"{what}: {entry} {fault}: leave one out")
        return value


def line(node: yaml.Node) -> int:
    """The line of a part of a file, counted from 1."""
    return int(node.start_mark.line) + 1


def refuse_two(cfg: Any) -> None:
    """Refuses neither a suite nor a sweep, or both."""
    missing = "suite is missing: give the folder of one, such as suite=experiments/<name>, or a sweep"
    require(cfg.suite or cfg.sweep, missing)
    both = f"suite={cfg.suite} and sweep={cfg.sweep} exclude each other: give one of them"
    require(not (cfg.suite and cfg.sweep), both)
