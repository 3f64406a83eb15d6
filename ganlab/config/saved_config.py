"""The config.yaml of a run: how it is parsed, and the format that it must have."""

from collections.abc import Mapping
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import UNSET, ConfigError, format_value, require

FORMAT = 1  # of a run directory; a run of any other format is refused
GROUPS = (
    "clip", "data", "evaluation", "initial", "logger", "metric", "model", "objective", "optimizer", "play",
    "stages", "trainer", "trick",
)  # fmt: skip
MAX_BYTES, MAX_VALUES, MAX_DEPTH = 1 << 20, 50_000, 40  # of a saved config
PATH = "tag:yaml.org,2002:python/object/apply:pathlib."  # the one allowed tag: a notebook may set a Path
RESTORE = "restore it, or start a new run"


def parse_saved_config(content: bytes) -> Any:
    """Parses mappings, lists and plain values only.

    Raises:
        ConfigError: it is longer or deeper than any run's, or has an alias, a tag or an interpolation.
    """
    text, depth = content.decode(), 0
    for number, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        tag, value = getattr(event, "tag", None) or PATH, getattr(event, "value", "")
        too_large = depth > MAX_DEPTH or number > MAX_VALUES
        if too_large or getattr(event, "anchor", None) or not tag.startswith(PATH) or "${" in value:
            line = event.start_mark.line + 1
            raise ConfigError(f"has an alias, a tag, an interpolation or too much in line {line}", RESTORE)
    return OmegaConf.create(text)


def validated_saved_config(cfg: Any, summary: Mapping[str, Any]) -> DictConfig:
    """The config of a run, without its format.

    Args:
        cfg: as it was parsed.
        summary: of the run; it names the version of ganlab that wrote the run.

    Raises:
        ConfigError: a group is missing, or the format is not that of this version.
    """
    if not isinstance(cfg, DictConfig):
        raise ConfigError("is not the config of a run", RESTORE)
    found = cfg.pop("format", None)
    missing = [name for name in GROUPS if not isinstance(cfg.get(name), DictConfig)]
    if found is not None or not missing:  # a file with neither a format nor the groups is something else
        check_format(found, summary)
    for name in missing:
        raise ConfigError(f"is not the config of a run: {name}={format_value(cfg.get(name))}", RESTORE)
    names = cfg.get("class_names") or []
    are_strings = (OmegaConf.is_list(names) or names == []) and all(isinstance(name, str) for name in names)
    require(are_strings, "", UNSET, f"has class_names={names}, which must be strings", RESTORE)
    return cfg


def check_format(found: Any, summary: Mapping[str, Any]) -> None:
    """Raises `ConfigError` if another version of ganlab wrote the run in another format."""
    versions = summary.get("versions")
    writer = versions.get("torch-ganlab") if isinstance(versions, dict) else None
    version = writer if isinstance(writer, str) else "of the version that wrote it"
    reason = f"has format={format_value(found)}, but this version of ganlab reads format {FORMAT}"
    supported = found == FORMAT and type(found) is int
    require(supported, "", UNSET, reason, f"use ganlab {version} for this run, or start a new one")
