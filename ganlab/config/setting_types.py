"""Types and ranges of settings: a table of plain settings, and the annotations of imported constructors."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pydoc import locate
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, Unpack, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import UNSET, ConfigError, format_value
from ganlab.core.validation import (
    Count,
    NonEmpty,
    NotNegative,
    Whole,
    describe_interval,
    in_interval,
    is_integer,
)

PATHS = (
    "run_dir resume init_from output generated real root suite sweep data.root data.test_root data.path "
    "metric.weights"
)
WANDB_KEYS = " ".join(f"logger.wandb.{name}" for name in ("mode", "project", "entity", "group", "job_type"))
# Keys and their type, which is the same in every command. They are checked in this order: mappings first, and
# `steps` after the settings that it is computed from, so that an error names the setting that is wrong.
# `Count` is a whole number of at least 1, `Whole` one of at least 0.
TYPE_TABLE: tuple[tuple[str, Any], ...] = (
    ("data model objective objective.weight optimizer play trainer evaluation trick metric", dict),
    ("logger callback stages initial clip model.generator optimizer.generator optimizer.discriminator", dict),
    (f"{PATHS} {WANDB_KEYS} condition part name monitor code_of checkpoint device address", str | None),
    ("rerun", Literal["stale", "failed"] | None),
    ("backend", Literal["local", "ray"]),
    ("num_cpus num_gpus", NotNegative),
    ("compile profile dry_run estimate wandb trainer.sync_batchnorm", bool),
    ("images evaluation.n_real processes threads", Count | None),
    ("data.batch_size default_steps steps log_every evaluate_every sample_every", Count),
    ("checkpoint_every trainer.devices trainer.num_nodes", Count),
    ("n evaluation.n", Annotated[int, "[1, 10000000]"]),
    ("seed evaluation.seed", Whole),
    ("trust only extra ignore", list[str]),
    ("of", str | list[str]),
    ("views", str | list[str | dict[str, Any]]),
    ("plus", NonEmpty[Whole]),
    ("minus", list[Whole]),
    ("figures", NonEmpty[Annotated[int, "[1, 7]"]]),
    ("evaluation.split trainer.accelerator", str),
    ("trainer.precision", Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]),
    ("what", Literal["grid", "neighbours", "reconstructions", "interpolate", "arithmetic", "animate"]),
    ("format", Literal["grid", "files"]),
    ("path", Literal["slerp", "lerp"] | None),
    ("space", Literal["pixels", "features"]),
    ("columns", Annotated[int, "[2, 1000]"]),
)
SETTING_TYPES = {key: annotation for keys, annotation in TYPE_TABLE for key in keys.split()}
# The types of settings that mean something else in one command.
TYPES_OF_COMMANDS = {"translate": {"images": str | None, "size": Literal["run", "original"]}}
# The settings that a stage inherits from the run and may change. `trick` names all tricks of the stage; of
# the others, a part suffices, and a node with another `_target_` replaces that of the run.
INHERITED = ("objective", "model", "initial", "optimizer", "play", "trick", "clip")
# The settings that a stage does not inherit, with their defaults. `code_of` names an earlier stage or a
# borrowed run, in whose codes the game is played; `space` is another space. `pretrained` lists earlier
# stages, shallow autoencoders, whose layers are copied into this stage's autoencoder before it is trained.
OWN: dict[str, Any] = {"space": None, "code_of": None, "pretrained": []}
# Mappings whose entries the user names, and the keys that an entry may have. An entry of `games` has those
# settings in which it may differ from the rest of the config.
NAMED_ENTRIES: dict[str, tuple[str, ...]] = {
    "stages": ("steps", "batch_size", *OWN, *INHERITED),
    "games": ("data", "objective", "model", "initial", "optimizer", "trick", "clip"),
    "borrows": (),
}


def validated_settings(
    cfg: DictConfig, overrides: Iterable[str] = (), further_types: Mapping[str, Any] = {}
) -> DictConfig:
    """The config after a check of its plain settings, with `~` expanded in paths (in place).

    Raises:
        ConfigError: a setting has the wrong type, is out of its range, or was removed by an override.
    """
    removed = {override[1:].split("=")[0] for override in overrides if override.startswith("~")}
    for key, annotation in {**SETTING_TYPES, **further_types}.items():
        value = OmegaConf.select(cfg, key, default=UNSET)
        if value is UNSET:
            # Not every command has every key. Only keys of the type `str | None` may be removed by an
            # override, which has the effect of setting them to null.
            if key in removed and annotation != str | None:
                raise ConfigError("is required", f"do not remove it with ~{key}", key=key)
            continue
        # Mappings are not converted: they may hold interpolations of keys that the command lacks.
        is_mapping = isinstance(value, DictConfig)
        if not (is_mapping if annotation is dict else matches(to_plain(value), annotation)):
            raise ConfigError(f"must be {describe_type(annotation)}", key=key, value=to_plain(value))
        if key in PATHS.split() and isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(cfg, key, os.path.expanduser(value))
    return cfg


def check_arguments(node: Any, unchecked: Sequence[str] = ()) -> None:
    """Checks the settings of every object in a part of a config against the annotations of its constructor.

    Args:
        unchecked: the keys of a whole config that are left out.

    Raises:
        ConfigError: a constructor lacks a parameter, or a value has the wrong type or is out of its range.
    """
    node_key = node._get_full_key(None) if OmegaConf.is_config(node) else ""
    for parent, entries in target_nodes(node, node_key):
        if parent.partition(".")[0] in unchecked:
            continue
        parameters = constructor_parameters(str(entries["_target_"]))
        for name, value in entries.items():
            key = f"{parent}.{name}".lstrip(".")
            if name in parameters.types:
                annotation = parameters.types[name]
                if not matches(value, annotation):
                    accepts_strings = matches("", annotation)
                    quoted = f"""to give a string that looks like a number, quote it: '{key}="{value}"'"""
                    remedy = quoted if accepts_strings and isinstance(value, int | float) else ""
                    raise ConfigError(f"must be {describe_type(annotation)}", remedy, key, value)
            elif not parameters.accepts_any and not str(name).startswith("_"):
                near = get_close_matches(str(name), parameters.types, cutoff=0.5) or parameters.types
                remedy = f"choose from {', '.join(near)}" if near else "remove it"
                raise ConfigError(f"{entries['_target_']} has no such parameter", remedy, key, value)


def target_nodes(node: Any, key: str = "") -> Iterator[tuple[str, dict[Any, Any]]]:
    """Those of the `mappings` from which an object will be built, since they have a `_target_`."""
    return ((place, entries) for place, entries in mappings(node, key) if "_target_" in entries)


def mappings(node: Any, key: str = "") -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yields the key and the settings of each mapping in a part of a config, whose own key is `key`."""
    plain = to_plain(node)
    entries = dict(enumerate(plain)) if isinstance(plain, list) else plain
    if isinstance(plain, dict):
        yield key, plain
    if isinstance(entries, dict):
        for name, value in entries.items():
            yield from mappings(value, f"{key}.{name}" if key else str(name))


def import_object(target: str) -> Any:
    """The object of a dotted name; None if there is none. The working directory is searched last.

    It is added to sys.path only now, so that libraries do not import files in it that have the names of Hydra
    plugins or of optional dependencies.
    """
    if find_spec(target.partition(".")[0]) is None and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return locate(target)


class Parameters(NamedTuple):
    """The parameters of a constructor."""

    types: dict[str, Any]  # the annotations, by the names of the parameters
    accepts_any: bool  # whether the constructor accepts keywords with other names


@cache
def constructor_parameters(target: str) -> Parameters:
    """The parameters of a constructor; any, if it cannot be imported, which is refused when it is called."""
    try:
        parameters = inspect.signature(import_object(target), eval_str=True).parameters
    except Exception:  # whatever an import may raise
        return Parameters({"_target_": str}, accepts_any=True)
    types: dict[str, Any] = {}
    accepts_any = False
    for name, parameter in parameters.items():
        annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
        if get_origin(annotation) is Unpack:  # **settings: Unpack[a TypedDict]
            (typed_dict,) = get_args(annotation)
            types |= get_type_hints(typed_dict, include_extras=True)
        elif parameter.kind is parameter.VAR_KEYWORD:
            accepts_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            types[name] = annotation
    return Parameters(types, accepts_any)


def to_plain(node: Any) -> Any:
    """A node of a config as dictionaries, lists and values, with interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def is_borrowed(node: Any) -> bool:
    """Whether a node stands for a network of an earlier stage or of a finished run."""
    return isinstance(node, Mapping | DictConfig) and "borrowed" in node


def matches(value: Any, annotation: Any) -> bool:
    """Whether a value of a config fits an annotation; a node with a `_target_` fits every class."""
    arguments = get_args(annotation)
    cls = get_origin(annotation) or annotation
    if cls is Annotated:
        base, interval = arguments
        if isinstance(value, Mapping) or not matches(value, base):
            return False
        return in_interval(len(value) if isinstance(value, list) else value, interval)
    if cls is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if cls in (Union, UnionType):
        return any(matches(value, option) for option in arguments)
    builds_object = isinstance(value, Mapping) and ("_target_" in value or is_borrowed(value))
    if builds_object or cls in (Any, object) or not isinstance(cls, type):
        return True
    if cls in (int, float):
        return is_integer(value) or (cls is float and isinstance(value, float) and math.isfinite(value))
    if cls in (bool, str, NoneType):
        return isinstance(value, cls)
    if issubclass(cls, Path):
        return isinstance(value, str)
    if issubclass(cls, Mapping):
        value_type = arguments[1] if arguments else Any
        return isinstance(value, Mapping) and all(matches(item, value_type) for item in value.values())
    if not issubclass(cls, Iterable) or not isinstance(value, list):
        return False
    if cls is tuple and Ellipsis not in arguments:
        return len(arguments) == len(value) and all(map(matches, value, arguments))
    return all(matches(item, arguments[0] if arguments else Any) for item in value)


PHRASES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", NoneType: "null"}


def describe_type(annotation: Any) -> str:
    """An annotation in words, such as "a list, each a whole number of at least 1"."""
    arguments = get_args(annotation)
    cls = get_origin(annotation) or annotation
    if cls is Annotated:
        base, interval = arguments
        if base is float:
            return describe_interval(interval)
        low, high = interval[1:-1].split(", ")
        if base is int:
            return f"a whole number of at least {low}" + (f" and at most {high}" if high != "inf" else "")
        return describe_list(base, size=f" of {low} or more")  # the interval is that of the length
    if cls is Literal:
        return f"one of {', '.join(map(format_value, arguments))}"
    if cls in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(describe_type, arguments)))
    if cls in PHRASES or issubclass(cls, Mapping):
        each = f", each {describe_type(arguments[1])}" if arguments[1:] and arguments[1] is not Any else ""
        return PHRASES.get(cls, f"a mapping{each}")
    if not issubclass(cls, Iterable):
        return f"a {cls.__name__}, given by its _target_"
    return describe_list(annotation, f" of {len(arguments)}" if cls is tuple and ... not in arguments else "")


def describe_list(annotation: Any, size: str) -> str:
    """An annotation of a list or a tuple in words; `size` is a phrase about the length, or empty."""
    item_types = get_args(annotation)
    each = "" if set(item_types) <= {Any} else f", each {describe_type(item_types[0])}"
    return f"a list{size}{each}"
