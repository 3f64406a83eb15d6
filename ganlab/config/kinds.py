"""Kinds and ranges of settings: a table of plain settings, and the annotations of constructors."""

import inspect
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pydoc import locate
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import UNSET, ConfigError, format_value, require
from ganlab.core.validation import Count, Whole, describe_interval, in_interval, is_whole_number

PATHS = (
    "run_dir", "resume", "init_from", "output", "generated", "real", "root", "suite", "sweep",
    "data.root", "data.test_root", "metric.weights",
)  # fmt: skip
WANDB_KEYS = (f"logger.wandb.{name}" for name in ("mode", "project", "entity", "group", "job_type"))
# Keys and their kind, which is the same in every command. They are checked in this order: first mappings, and
# later `steps` after the settings that it is computed from, so that the error names the wrong setting.
KIND_TABLE: tuple[tuple[str, Any], ...] = (
    ("data model objective objective.weight optimizer play trainer evaluation trick metric", dict),
    ("logger stages initial clip model.generator optimizer.generator optimizer.discriminator", dict),
    (" ".join((*PATHS, *WANDB_KEYS, "name", "monitor", "code_of", "checkpoint", "device")), str | None),
    ("rerun", Literal["stale", "failed"] | None),
    ("compile profile dry_run wandb trainer.sync_batchnorm", bool),
    ("images evaluation.n_real processes threads", Count | None),
    ("data.batch_size default_steps steps log_every evaluate_every sample_every", Count),
    ("checkpoint_every trainer.devices trainer.num_nodes", Count),
    ("n evaluation.n", Annotated[int, 1, 10_000_000]),
    ("seed evaluation.seed", Whole),
    ("trust only extra ignore", list[str]),
    ("of", str | list[str]),
    ("views", str | list[str | dict[str, Any]]),
    ("plus", Annotated[list[Whole], 1]),
    ("minus", list[Whole]),
    ("figures", Annotated[list[Annotated[int, 1, 7]], 1]),
    ("evaluation.split trainer.accelerator", str),
    ("trainer.precision", Literal["32-true", "bf16-mixed", "64-true"]),
    ("what", Literal["grid", "neighbours", "interpolate", "arithmetic", "animate"]),
    ("format", Literal["grid", "files"]),
    ("path", Literal["slerp", "lerp"]),
    ("space", Literal["pixels", "features"]),
    ("columns", Annotated[int, 2, 1000]),
)
KINDS = {key: kind for keys, kind in KIND_TABLE for key in keys.split()}


def validated_settings(cfg: DictConfig, overrides: Iterable[str] = ()) -> DictConfig:
    """The config after a check of its plain settings, with `~` expanded in paths (in place).

    Raises:
        ConfigError: a setting is of the wrong kind, out of its range, or removed by an override.
    """
    removed = {override[1:].split("=")[0] for override in overrides if override.startswith("~")}
    for key, kind in KINDS.items():
        value = OmegaConf.select(cfg, key, default=UNSET)
        if value is UNSET:
            # A command need not have every key, but must not lose one by an override, unless null is allowed.
            optional = key not in removed or kind == str | None
            require(optional, key, UNSET, "is required", f"do not remove it with ~{key}")
            continue
        value = value if kind is dict else to_plain(value)  # groups may hold interpolations of missing keys
        fits = isinstance(value, DictConfig) if kind is dict else matches(value, kind)
        require(fits, key, value, f"must be {describe_kind(kind)}")
        if key in PATHS and isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(cfg, key, os.path.expanduser(value))
    return cfg


def check_arguments(node: Any, key: str = "") -> None:
    """Checks the settings of every object in a config against the annotations of its constructor.

    Args:
        node: a config, or a part of one.
        key: the key of the node; empty: the key that it has in its config, if it is a part of one.

    Raises:
        ConfigError: a constructor lacks the parameter, or the value is of the wrong kind or out of its range.
    """
    key = key or (node._get_full_key(None) if OmegaConf.is_config(node) else "")
    for parent, entries in containers(to_plain(node), key):
        target = entries.get("_target_")
        kinds, accepts_more = constructor_kinds(str(target))
        for name, value in entries.items():
            full_key = f"{parent}.{name}".lstrip(".")
            if name in kinds:
                unquoted = isinstance(value, int | float) and matches("", kinds[name])  # a string is allowed
                quote = f"""to give a string that looks like a number, quote it: '{full_key}="{value}"'"""
                reason = f"must be {describe_kind(kinds[name])}"
                require(matches(value, kinds[name]), full_key, value, reason, quote if unquoted else "")
            elif not accepts_more and not str(name).startswith("_"):
                near = ", ".join(get_close_matches(str(name), kinds, cutoff=0.5) or kinds)
                remedy = f"choose from {near}" if near else "remove it"
                raise ConfigError(f"{target} has no such parameter", remedy, full_key, value)


def containers(node: Any, key: str = "") -> Iterator[tuple[str, dict[Any, Any]]]:
    """The key of each mapping and list in a plain config, and its entries by name or index."""
    entries = dict(enumerate(node)) if isinstance(node, list) else node
    if isinstance(entries, dict):
        yield key, entries
        for name, value in entries.items():
            yield from containers(value, f"{key}.{name}" if key else str(name))


def import_object(target: str) -> Any:
    """The object of a dotted name; None if there is none. The working directory is searched last.

    The first call adds it to sys.path. If that were done when the command starts, libraries would import
    files in it that have the names of plugins of Hydra or of their optional dependencies.
    """
    if find_spec(target.partition(".")[0]) is None and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return locate(target)


@cache
def constructor_kinds(target: str) -> tuple[dict[Any, Any], bool]:
    """The annotations of a constructor's parameters, and whether it accepts further keywords.

    If there is no such constructor, every setting is accepted.
    """
    try:
        called = inspect.unwrap(import_object(target))
        parameters = inspect.signature(called).parameters
        function = inspect.getattr_static(called, "__init__") if isinstance(called, type) else called
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # whatever an import may raise: building the object reports it
        return {"_target_": str}, True
    kinds = {name: hints.get(name, Any) for name in parameters if "VAR" not in parameters[name].kind.name}
    keywords = [hints.get(name) for name in parameters if parameters[name].kind.name == "VAR_KEYWORD"]
    if keywords and get_origin(keywords[0]) is Unpack:  # **settings: Unpack[a TypedDict]
        return kinds | get_type_hints(get_args(keywords[0])[0], include_extras=True), False
    return kinds, bool(keywords)


def to_plain(node: Any) -> Any:
    """A node of a config as dictionaries, lists and values, with interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def matches(value: Any, annotation: Any) -> bool:
    """Whether a value of a config fits an annotation; a node with a `_target_` fits every class."""
    arguments = get_args(annotation)
    kind = get_origin(annotation) or annotation
    if kind is Annotated:
        base, low, *high = arguments
        if isinstance(value, Mapping) or not matches(value, base):
            return False
        interval = low if isinstance(low, str) else f"[{low}, {high[0] if high else 'inf'}]"
        return in_interval(len(value) if isinstance(value, list) else value, interval)
    if kind is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if kind in (Union, UnionType):
        return any(matches(value, option) for option in arguments)
    built = isinstance(value, Mapping) and "_target_" in value
    if built or kind in (Any, object) or not isinstance(kind, type):
        return True
    if kind in (int, float):
        return is_whole_number(value) or (kind is float and isinstance(value, float) and math.isfinite(value))
    if kind in (bool, str, NoneType):
        return isinstance(value, kind)
    if issubclass(kind, Mapping):
        value_kind = arguments[1] if arguments else Any
        return isinstance(value, Mapping) and all(matches(item, value_kind) for item in value.values())
    if not issubclass(kind, Iterable) or not isinstance(value, list):
        return issubclass(kind, Path) and isinstance(value, str)
    if kind is tuple and Ellipsis not in arguments:
        return len(arguments) == len(value) and all(map(matches, value, arguments))
    return all(matches(item, arguments[0] if arguments else Any) for item in value)


PHRASES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", NoneType: "null"}


def describe_kind(annotation: Any) -> str:
    """An annotation in words."""
    arguments = get_args(annotation)
    kind = get_origin(annotation) or annotation
    if kind is Annotated:
        base, *bounds = arguments
        if isinstance(bounds[0], str):
            return describe_interval(bounds[0])
        if base is int:
            return f"a whole number of at least {' and at most '.join(map(str, bounds))}"
        return describe_kind(base).replace("a list", f"a list of {bounds[0]} or more", 1)
    if kind is Literal:
        return f"one of {', '.join(map(format_value, arguments))}"
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(describe_kind, arguments)))
    if kind in PHRASES or issubclass(kind, Mapping):
        return PHRASES.get(kind, "a mapping")
    if not issubclass(kind, Iterable):
        return f"a {kind.__name__}, given by its _target_"
    size = f" of {len(arguments)}" if kind is tuple and Ellipsis not in arguments else ""
    return f"a list{size}" + ("" if set(arguments) <= {Any} else f", each {describe_kind(arguments[0])}")
