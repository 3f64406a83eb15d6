"""A YAML file that somebody wrote by hand, read into dataclasses; refusals name the line."""

from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlab.config.saved_config import parse_plain
from ganlab.config.setting_types import describe_type, matches
from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import read_regular_file

MAX_BYTES = 1 << 20  # the largest size of a file


class Source:
    """The content of a YAML file, and the lines of its keys, such as "arms.r1.overrides".

    Raises:
        ConfigError: the file cannot be read or parsed, or is no mapping.
    """

    def __init__(self, file: Path):
        self.file = file
        try:
            text = read_regular_file(file, MAX_BYTES)
            self.content: Any = OmegaConf.to_container(parse_plain(text, may_interpolate=True))
            self.lines = dict(lines_of_keys(yaml.compose(text, yaml.SafeLoader)))
        except OSError as error:
            missing = f"{file.stem}={file.parent} has no {file.name} that can be read"
            raise ConfigError(missing, "give a folder with one, such as experiments/<name>") from error
        except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
            mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", error)
            place = f"{file}, line {mark.line + 1}" if mark else str(file)
            remedy = "write plain values, each key once, and quote what holds brackets or colons"
            raise ConfigError(f"{place}: {getattr(problem, 'reason', problem)!s:.200}", remedy) from error
        require(self.lines, f"{file} is no mapping", "write `key: value` lines")

    def at(self, key: str) -> str:
        """The file and the line of a key, or of the nearest key around it."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f"{self.file}, line {self.lines[key]}" if key else str(self.file)


def lines_of_keys(node: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
        yield f"{prefix}{key.value}", key.start_mark.line + 1
        yield from lines_of_keys(child, f"{prefix}{key.value}.")


def made(cls: Any, values: Any, key: str = "") -> Any:
    """A dataclass from a mapping. Its fields are read as annotated, or as `in_file` of their metadata says.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type, is empty or stands twice.
    """
    require(isinstance(values, dict), "must be a mapping", "", key, values)
    own, hints = [one for one in fields(cls) if one.init], get_type_hints(cls, include_extras=True)
    types = {one.name: one.metadata.get("in_file", hints[one.name]) for one in own}
    for name, value in values.items():
        place, parts = f"{key}.{name}".lstrip("."), value if isinstance(value, list) else [value]
        require(name in types, "is unknown", f"choose from {', '.join(types)}", place)
        remedy = "quote texts that hold brackets or colons" if isinstance(value, list | dict) else ""
        require(matches(value, types[name]), f"must be {describe_type(types[name])}", remedy, place, value)
        is_blank = not all(str(part).strip() for part in parts)
        require(not is_blank, "is empty, or has an empty text", "write it, or leave it out", place)
        twice = next((part for part in parts if parts.count(part) > 1), "")
        require(twice == "", f"{twice} stands there twice", "remove one of them", place)
    needed = {one.name for one in own if one.default is one.default_factory is MISSING}
    lacking = ", ".join(sorted(needed - values.keys()))
    require(not lacking, f"lacks {lacking}", "add what is missing", key)
    return cls(**values)
