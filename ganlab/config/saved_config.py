"""The config.yaml of a run: how it is parsed, and the format that it must have."""

from collections.abc import Mapping
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from ganlab.config.setting_types import SETTING_TYPES
from ganlab.core.errors import ConfigError, format_value

FORMAT = 2  # the format of run directories that this version reads and writes
# The settings at the top of a config that are mappings. SETTING_TYPES has the type of each dotted key.
REQUIRED_GROUPS = sorted(key for key, kind in SETTING_TYPES.items() if kind is dict and "." not in key)
# The largest number of events of the parser (see `parse_saved_config`), and the deepest nesting of values.
MAX_EVENTS, MAX_DEPTH = 50_000, 40
PATH_TAG = "tag:yaml.org,2002:python/object/apply:pathlib."  # the one allowed tag: a setting may be a Path
RESTORE_REMEDY = "restore it, or start a new run"


def parse_saved_config(content: bytes) -> Any:
    """Parses a config that has mappings, lists and plain values only, and refuses any other."""
    text = content.decode()
    depth = 0  # how many mappings and lists are open
    # The parser yields an event for each value, and for the start and the end of each mapping and list.
    for number, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag, value = getattr(event, "tag", None), getattr(event, "value", "")
        unsafe = getattr(event, "anchor", None) or (tag and not tag.startswith(PATH_TAG)) or "${" in value
        if unsafe or depth > MAX_DEPTH or number > MAX_EVENTS:
            reason = "has an alias, a tag or an interpolation, or is too large or too deeply nested,"
            raise ConfigError(f"{reason} in line {event.start_mark.line + 1}", RESTORE_REMEDY)
    return OmegaConf.create(text)


def validated_saved_config(cfg: Any, summary: Mapping[str, Any]) -> DictConfig:
    """A parsed config after a check of its groups and its format, without the key `format`.

    Raises:
        ConfigError: a group is missing, or this version does not read the format. The error names the version
            of ganlab that wrote the run, if the run's summary does.
    """
    if not isinstance(cfg, DictConfig):
        raise ConfigError("is not the config of a run", RESTORE_REMEDY)
    saved_format = cfg.pop("format", None)
    if saved_format is not None:
        cfg.setdefault("callback", {})  # runs that are older than this setting have none
    missing = [name for name in REQUIRED_GROUPS if not isinstance(cfg.get(name), DictConfig)]
    # A file without format that lacks groups is not the config of a run. In any other, a wrong format is
    # reported first, because it explains why groups are missing.
    is_run_config = saved_format is not None or not missing
    if is_run_config and not (type(saved_format) is int and saved_format == FORMAT):
        versions = summary.get("versions")
        version = versions.get("torch-ganlab") if isinstance(versions, dict) else None
        writer = f"ganlab {version}" if isinstance(version, str) else "the version of ganlab that wrote it"
        reason = f"has format={format_value(saved_format)}, but this version of ganlab reads format {FORMAT}"
        raise ConfigError(reason, f"use {writer} for this run, or start a new one")
    if missing:
        value = format_value(cfg.get(missing[0]))
        raise ConfigError(f"is not the config of a run: {missing[0]}={value}", RESTORE_REMEDY)
    names = cfg.get("class_names") or []
    if not isinstance(names, list | ListConfig) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"has class_names={names}, which must be strings", RESTORE_REMEDY)
    return cfg
