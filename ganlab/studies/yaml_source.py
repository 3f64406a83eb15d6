"""A YAML file that somebody wrote by hand, read into a dataclass; refusals name the line."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ganlab.config.setting_types import describe_type, matches
from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import read_regular_file

MAX_BYTES = 1 << 20  # the largest size of a file


class Source:
    """The content of a YAML file, and the lines of its keys, such as "arms.r1.overrides".

    Args:
        file: the file.
        setting: the setting of the command that gave its folder.

    Raises:
        ConfigError: the file cannot be read, or has an alias, or a key that stands twice.
    """

    def __init__(self, file: Path, setting: str):
        self.file, self.lines = file, dict[str, int]()
        try:
            text = read_regular_file(file, MAX_BYTES).decode()
            for token in yaml.scan(text, yaml.SafeLoader):  # aliases make a huge content of a small file
                is_alias = isinstance(token, yaml.AliasToken)
                place = f"{file}, line {token.start_mark.line + 1}"
                require(not is_alias, f"{place}: an alias stands there", "write out what it stands for")
            root = yaml.compose(text, yaml.SafeLoader)
            require(isinstance(root, yaml.MappingNode), f"{file} is no mapping", "write `key: value` lines")
            self.note_lines(root, "")
            self.content: dict[str, Any] = yaml.SafeLoader("").construct_document(root)
        except (OSError, UnicodeDecodeError) as error:
            missing = f"{setting}={file.parent} has no {file.name} that can be read"
            raise ConfigError(missing, "give a folder with one, such as experiments/<name>") from error
        except RecursionError as error:
            raise ConfigError(f"{file} is nested too deeply", "write it flat") from error
        except (yaml.YAMLError, ValueError) as error:
            mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", error)
            place = f"{file}, line {mark.line + 1}" if mark else str(file)
            raise ConfigError(f"{place}: {problem!s:.200}", "quote what holds brackets or colons") from error

    def note_lines(self, node: yaml.Node, prefix: str) -> None:
        for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
            name, line = f"{prefix}{key.value}", key.start_mark.line + 1
            twice = f"{self.file}, line {line}: {name} stands there twice"
            require(name not in self.lines, twice, "remove one of them")
            self.lines[name] = line
            self.note_lines(child, f"{name}.")

    def at(self, key: str) -> str:
        """The file and the line of a key, or of the nearest key around it."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f"{self.file}, line {self.lines[key]}" if key else str(self.file)

    def read(self, cls: type, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """The fields of a dataclass, by the annotations or by the types `in_file` of their metadata.

        Raises:
            ConfigError: a key is unknown or missing, or a value has the wrong type, is empty or stands twice.
        """
        hints, found = get_type_hints(cls, include_extras=True), dict(values)
        types = {one.name: one.metadata.get("in_file", hints[one.name]) for one in fields(cls)}
        known = [name for name, kind in types.items() if kind is not None]
        for name, value in found.items():
            key, place = f"{prefix}{name}", self.at(f"{prefix}{name}")
            require(name in known, f"{place}: {key} is unknown", f"choose from {', '.join(known)}")
            wanted = describe_type(types[name])
            remedy = "quote texts that hold brackets or colons" if "string" in wanted else ""
            require(matches(value, types[name]), f"{place}: {key}={value!s:.80} must be {wanted}", remedy)
            parts = value if isinstance(value, list) else []
            blank = not all(str(part).strip() for part in [value, *parts])
            require(not blank, f"{place}: {key} is empty, or has an empty text", "write it, or leave it out")
            twice = [part for part, n in Counter(parts).items() if n > 1]
            require(not twice, f"{place}: {key}: {twice[:1]!s:.80} stands there twice", "remove one of them")
        needed = {one.name for one in fields(cls) if one.default is one.default_factory is MISSING}
        lacking = ", ".join(sorted(needed & {*known} - {*found}))
        require(not lacking, f"{self.at(prefix[:-1])} lacks {lacking}", "add what is missing")
        return found
