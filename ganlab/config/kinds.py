"""Kinds of settings: plain ones by one table of their keys, a constructor's by its annotations."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pydoc import locate
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count, Whole, whole

ROOTS = ("data.root", "data.test_root", "metric.weights")
PATHS = ("run_dir", "resume", "init_from", "output", "generated", "real", "root", "suite", "sweep", *ROOTS)
WANDB = tuple(f"logger.wandb.{name}" for name in ("mode", "project", "entity", "group", "job_type"))
# A key has the same kind in every command. Mappings come first, and what `steps` is computed from before it.
KINDS: dict[str, Any] = {
    key: kind
    for keys, kind in (
        (("data", "model", "objective", "objective.weight", "optimizer", "play", "trainer"), dict),
        (("evaluation", "trick", "metric", "logger", "stages", "initial", "clip"), dict),
        (("model.generator", "optimizer.generator", "optimizer.discriminator"), dict),
        ((*PATHS, *WANDB, "name", "monitor", "code_of", "checkpoint", "device"), str | None),
        (("rerun",), Literal["stale", "failed"] | None),
        (("compile", "profile", "dry_run", "wandb", "trainer.sync_batchnorm"), bool),
        (("images", "evaluation.n_real", "processes", "threads"), Count | None),
        (("data.batch_size", "default_steps", "steps", "log_every", "evaluate_every"), Count),
        (("sample_every", "checkpoint_every"), Count),
        (("n", "evaluation.n"), Annotated[int, 1, 10_000_000]),
        (("trainer.devices", "trainer.num_nodes"), Count),
        (("seed", "evaluation.seed"), Whole),
        (("trust", "only", "extra", "ignore"), list[str]),
        (("of",), str | list[str]),
        (("views",), str | list[Any]),
        (("plus",), Annotated[list[Whole], 1]),
        (("minus",), list[Whole]),
        (("figures",), Annotated[list[Annotated[int, 1, 7]], 1]),
        (("evaluation.split", "trainer.accelerator"), str),
        (("trainer.precision",), Literal["32-true", "bf16-mixed", "64-true"]),
        (("what",), Literal["grid", "neighbours", "interpolate", "arithmetic", "animate"]),
        (("format",), Literal["grid", "files"]),
        (("path",), Literal["slerp", "lerp"]),
        (("space",), Literal["pixels", "features"]),
        (("columns",), Annotated[int, 2, 1000]),
    )
    for key in keys
}


def validate(cfg: DictConfig, overrides: Iterable[str] = ()) -> DictConfig:
    """The config with `~` of its paths expanded.

    Raises:
        ConfigError: a plain setting is of another kind or out of its range, or was taken away.
    """
    given = {override.lstrip("+~").split("=")[0]: override.lstrip("+") for override in overrides}
    for key, wanted in KINDS.items():
        value = OmegaConf.select(cfg, key, default=KINDS)
        if value is KINDS and key in given and wanted != str | None:
            raise ConfigError(f"{given[key]} takes away {key}, which is needed: leave it out")
        if value is KINDS:
            continue
        if not (isinstance(value, DictConfig) if wanted is dict else fits(container(value), wanted)):
            raise ConfigError(f"{given.get(key, f'{key}={shown(value)}')} must be {said(wanted)}")
        if key in PATHS and isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(cfg, key, os.path.expanduser(value))
    return cfg


def refuse_unfit(node: Any, name: str = "") -> None:
    """Refuses what a constructor anywhere below a node of the config would not take, by its annotations."""
    node, name = container(node), name or (node._get_full_key(None) if OmegaConf.is_config(node) else "")
    target = node.get("_target_") if isinstance(node, dict) else None
    known, takes_more = parameters(str(target))
    inside = dict(enumerate(node)) if isinstance(node, list) else node
    for key, value in inside.items() if isinstance(inside, dict) else ():
        path = f"{name}.{key}".lstrip(".")
        if key in known and not fits(value, wanted := known[key]):
            odd = fits("", wanted) and isinstance(value, int | float)
            quotes = f""": a text that looks otherwise is quoted, '{path}="{value}"'""" if odd else ""
            raise ConfigError(f"{path}={shown(value)} must be {said(wanted)}{quotes}")
        if key not in known and not takes_more and not str(key).startswith("_"):
            near = get_close_matches(str(key), known, cutoff=0.5) or known
            takes = ", ".join(near) or "nothing"
            raise ConfigError(f"{path}={shown(value)} would be read by nothing: {target} takes {takes}")
        refuse_unfit(value, path)


def find(target: str) -> Any:
    """What a dotted name means; None: nothing. Own code is looked for where one works, once it is asked for.

    Earlier, what lies there would be run as a plugin of Hydra's or an optional module of a library's.
    """
    if find_spec(target.partition(".")[0]) is None and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return locate(target)


@cache
def parameters(target: str) -> tuple[dict[Any, Any], bool]:
    """The annotations of a constructor by name, and whether it takes more: of none that is there, it does."""
    try:
        made = find(target)
        found = inspect.signature(made).parameters
        maker = inspect.getattr_static(made, "__init__") if isinstance(made, type) else made
        hints = get_type_hints(maker, include_extras=True)
    except Exception:  # whatever an import may raise: it is told when the object is built
        return {"_target_": str}, True
    kinds = {key: parameter.kind.name for key, parameter in found.items()}
    known = {key: hints.get(key, Any) for key, kind in kinds.items() if not kind.startswith("VAR_")}
    more = [hints.get(key) for key, kind in kinds.items() if kind == "VAR_KEYWORD"]
    if more and get_origin(more[0]) is Unpack:
        return known | get_type_hints(get_args(more[0])[0], include_extras=True), False
    return known, bool(more)


def container(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def fits(value: Any, wanted: Any) -> bool:
    """Whether a value of a config is what an annotation asks for; a schedule may stand where a number may."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return not isinstance(value, Mapping) and fits(value, inside[0]) and lies(value, *inside[1:])
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inside)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inside)
    kind = origin or wanted
    made = isinstance(value, Mapping) and "_target_" in value
    if made or kind in (Any, object) or not isinstance(kind, type):
        return True
    if kind is int or kind is float:
        return whole(value) or (kind is float and isinstance(value, float) and abs(value) < float("inf"))
    if kind in (bool, str, NoneType):
        return isinstance(value, kind)
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(fits(one, (*inside, Any, Any)[1]) for one in value.values())
    if not issubclass(kind, Iterable) or not isinstance(value, list):
        return issubclass(kind, Path) and isinstance(value, str)
    if kind is tuple and Ellipsis not in inside:
        return len(inside) == len(value) and all(map(fits, value, inside))
    return all(fits(one, (*inside, Any)[0]) for one in value)


def lies(value: Any, least: float | str, most: float = math.inf) -> bool:
    """Whether a number, or how many a list has, lies from `least` to `most`, or in an interval."""
    if not isinstance(least, str):
        return least <= (len(value) if isinstance(value, list) else value) <= most
    low, high = map(float, least[1:-1].split(","))
    return low < value < high or value in ([low] * (least[0] == "[") + [high] * (least[-1] == "]"))


INTERVALS = {"(0, inf)": "a positive number", "[0, inf)": "a number of at least 0"}
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}


def said(wanted: Any) -> str:
    """An annotation in words."""
    origin, inside = get_origin(wanted), get_args(wanted)
    kind = origin or wanted
    if origin is Annotated:
        reach = " and at most ".join(map(str, inside[1:]))
        if isinstance(inside[1], str):
            return INTERVALS.get(reach, f"a number in {reach}")
        if inside[0] is int:
            return f"a whole number of at least {reach}"
        return said(inside[0]).replace("a list", f"a list of {reach} or more", 1)
    if origin is Literal:
        return f"one of {', '.join(map(shown, inside))}"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(said, inside)))
    if kind in WORDS or issubclass(kind, Mapping):
        return WORDS.get(kind, "a mapping")
    if not issubclass(kind, Iterable):
        return f"a {kind.__name__}, which is given by its _target_"
    size = f" of {len(inside)}" if kind is tuple and Ellipsis not in inside else ""
    return f"a list{size}, each {said(inside[0])}" if inside and inside[0] is not Any else f"a list{size}"


def shown(value: Any) -> str:
    """A value as it is typed."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
