"""A YAML file that somebody wrote by hand, read by a schema; refusals name the line."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import read_regular_file

MAX_BYTES = 1 << 20  # the largest size of a file
MAX_DEPTH = 20  # of mappings and lists within each other


def read_file(file: Path, schema: type, setting: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The content of a YAML file by a schema, and the lines of its keys.

    Raises:
        ConfigError: the file cannot be read, or does not suit the schema; the line is named.
    """
    lines: dict[str, int] = {}
    try:
        text = read_regular_file(file, MAX_BYTES).decode()
        refuse_bombs(file, text)
        root = yaml.compose(text, yaml.SafeLoader)
        require(isinstance(root, yaml.MappingNode), f"{file} is no mapping", "write `key: value` lines")
        note_lines(file, root, "", lines)
        content = yaml.SafeLoader("").construct_document(root)
        found = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(content))
        lacking = ", ".join(sorted(OmegaConf.missing_keys(found)))
        require(not lacking, f"{file} lacks {lacking}", "add what is missing")
        # Interpolations in overrides are resolved in the config of a run, not here.
        values: Any = OmegaConf.to_container(found, resolve=False)
    except (OSError, UnicodeDecodeError) as error:
        missing = f"{setting}={file.parent} has no {file.name} that can be read"
        raise ConfigError(missing, "give a folder with one, such as experiments/<name>") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(*explained(file, lines, error)) from error
    refuse_odd_texts(file, lines, values)
    return values, lines


def refuse_bombs(file: Path, text: str) -> None:
    """Refuses aliases, which can make a huge content of a small file, and deep nesting."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        place = f"{file}, line {event.start_mark.line + 1}"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        require(depth < MAX_DEPTH, f"{place} is nested too deeply", "write it flat")
        alias = event.anchor if isinstance(event, yaml.AliasEvent) else None
        require(alias is None, f"{place}: *{alias} is an alias", "write out what it stands for")


def note_lines(file: Path, node: yaml.Node, prefix: str, lines: dict[str, int]) -> None:
    """Adds the line of each key, as OmegaConf names keys, and refuses a key that stands twice."""
    for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
        name, line = f"{prefix}{key.value}", key.start_mark.line + 1
        require(name not in lines, f"{file}, line {line}: {name} stands there twice", "remove one of them")
        lines[name] = line
        note_lines(file, child, f"{name}.", lines)


def refuse_odd_texts(file: Path, lines: Mapping[str, int], values: Any, key: str = "") -> None:
    """Refuses empty texts, and in lists everything but texts, each once."""
    for name, value in values.items():
        place = f"{file}, line {line_of(lines, f'{key}{name}')}: {key}{name}"
        if isinstance(value, dict) and name != "published":
            refuse_odd_texts(file, lines, value, f"{key}{name}.")
        elif isinstance(value, list) and name != "seeds":
            odd = [
                one for one in value if not isinstance(one, str) or value.count(one) > 1 or not one.strip()
            ]
            require(not odd, f"{place}: {odd[:1]!s:.80}", "write a list of texts, each once; quote them")
        require(
            value is None or value != "" and value != " ", f"{place} is empty", "write it, or leave it out"
        )


def line_of(lines: Mapping[str, int], key: str) -> int:
    """The line of a key, or of the nearest key around it."""
    while key not in lines and key:
        key = (
            key.rpartition("." if "." in key else "[")[0] if not key.endswith("]") else key.rpartition("[")[0]
        )
    return lines.get(key, 1)


def explained(file: Path, lines: Mapping[str, int], error: Exception) -> tuple[str, str]:
    """The reason and the remedy of a refusal, from what yaml or OmegaConf raised."""
    if isinstance(error, yaml.MarkedYAMLError):
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return f"{file}, line {line}: {error.problem}", "quote what holds brackets, commas or colons"
    key = str(getattr(error, "full_key", None) or "")
    place = f"{file}, line {line_of(lines, key)}"
    if isinstance(error, ConfigKeyError) and is_dataclass(kind := error.object_type):
        return f"{place}: {key} is unknown", f"choose from {', '.join(one.name for one in fields(kind))}"
    return f"{place}: {key}: {str(error).splitlines()[0]:.200}", "correct it"
