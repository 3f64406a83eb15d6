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


def read_file(file: Path, schema: type, setting: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The content of a YAML file by a schema, and the lines of its keys.

    Raises:
        ConfigError: the file cannot be read, or does not suit the schema; the line is named.
    """
    lines: dict[str, int] = {}
    try:
        text = read_regular_file(file, MAX_BYTES).decode()
        for token in yaml.scan(text, yaml.SafeLoader):  # aliases make a huge content of a small file
            place = f"{file}, line {token.start_mark.line + 1}"
            is_alias = isinstance(token, yaml.AliasToken)
            require(not is_alias, f"{place}: an alias stands there", "write out what it stands for")
        root = yaml.compose(text, yaml.SafeLoader)
        require(isinstance(root, yaml.MappingNode), f"{file} is no mapping", "write `key: value` lines")
        note_lines(file, root, "", lines)
        content = yaml.SafeLoader("").construct_document(root)
        found = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(content))
    except (OSError, UnicodeDecodeError) as error:
        missing = f"{setting}={file.parent} has no {file.name} that can be read"
        raise ConfigError(missing, "give a folder with one, such as experiments/<name>") from error
    except RecursionError as error:
        raise ConfigError(f"{file} is nested too deeply", "write it flat") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(*explained(file, lines, error)) from error
    lacking = ", ".join(sorted(OmegaConf.missing_keys(found)))
    require(not lacking, f"{file} lacks {lacking}", "add what is missing")
    # Interpolations in overrides are resolved in the config of a run, not here.
    values: Any = OmegaConf.to_container(found, resolve=False)
    return values, lines


def note_lines(file: Path, node: yaml.Node, prefix: str, lines: dict[str, int]) -> None:
    """Adds the line of each key, as OmegaConf names keys, and refuses a key that stands twice."""
    for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
        name, line = f"{prefix}{key.value}", key.start_mark.line + 1
        require(name not in lines, f"{file}, line {line}: {name} stands there twice", "remove one of them")
        lines[name] = line
        note_lines(file, child, f"{name}.", lines)


def place_of(file: Path, lines: Mapping[str, int], key: str) -> str:
    """The file and the line of a key, or of the nearest key around it."""
    while key and key not in lines:
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return f"{file}, line {lines[key]}" if key else str(file)


def explained(file: Path, lines: Mapping[str, int], error: Exception) -> tuple[str, str]:
    """The reason and the remedy of a refusal, from what yaml or OmegaConf raised."""
    if isinstance(error, yaml.MarkedYAMLError):
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return f"{file}, line {line}: {error.problem}", "quote what holds brackets, commas or colons"
    key = str(getattr(error, "full_key", None) or "")
    place = place_of(file, lines, key)
    if isinstance(error, ConfigKeyError) and is_dataclass(kind := error.object_type):
        known = (one.name for one in fields(kind) if not one.metadata)
        return f"{place}: {key} is unknown", f"choose from {', '.join(known)}"
    return f"{place}: {key}: {str(error).splitlines()[0]:.200}", "correct it"
