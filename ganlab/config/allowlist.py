"""Which objects a saved config may build: one that came with somebody's checkpoint is not to be believed.

A config names code, and what it names is run. So it is a list of objects that may be built, compared as text
before anything is looked up. Beyond it there is what the command line trusts, and what the user's own runs
on this machine were made of: their configs are signed with a key that lies in the user's cache.
"""

import hmac
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from ganlab.config.compose import CONF
from ganlab.core.errors import ConfigError, one_line
from ganlab.filesystem import cache_directory

# What may be built though no file of conf/ names it.
UNNAMED = """
ganlab.networks.initial.FanIn ganlab.networks.priors.TruncatedNormal
ganlab.core.schedules.Constant ganlab.core.schedules.Cosine
ganlab.core.schedules.HalfLife ganlab.core.schedules.WarmUp
torch.optim.ASGD torch.optim.Adadelta torch.optim.Adafactor torch.optim.Adagrad torch.optim.Adam
torch.optim.AdamW torch.optim.Adamax torch.optim.LBFGS torch.optim.Muon torch.optim.NAdam torch.optim.RAdam
torch.optim.RMSprop torch.optim.Rprop torch.optim.SGD torch.optim.SparseAdam
"""
# What reads, writes or starts something stands in its own group alone.
GROUPS = {"callbacks": "logger", "data": "data", "processes": "trainer", "pytorch_lightning": "trainer"}
LARGEST, LONGEST, DEEPEST = 1 << 20, 50_000, 40  # of a saved config: bytes, values, and how far it is nested
PATH = "tag:yaml.org,2002:python/object/apply:pathlib."  # the only tag: what a notebook may put into a config


@cache
def allowed_targets() -> frozenset[str]:
    """The dotted names of what any saved config may build: what the groups of conf/ name, and a few more."""
    shipped = " ".join(path.read_text() for path in CONF.glob("*/**/*.yaml"))
    return frozenset([*re.findall(r"_target_: *([\w.]+)", shipped), *UNNAMED.split()])


def check_trust(cfg: DictConfig, trust: Iterable[str] = (), signed: bool = False) -> None:
    """Refuses a config that would build what it may not.

    Args:
        trust: packages from which it may build anything.
        signed: whether the user's own key vouches for its targets.
    """
    if isinstance(trust, str | int | float | None) or not all(
        isinstance(name, str) and name for name in trust
    ):
        raise ConfigError(f"trust={trust} must be a list of packages, such as trust=[my_package]")
    allowed = tuple(f"{package}." for package in trust)
    for place, node in target_nodes(cfg):
        target = node["_target_"]
        if not isinstance(target, str) or not re.fullmatch(r"\w+(\.\w+)+", target):
            raise ConfigError(
                f"{place}._target_={target} must be the dotted name of a class: mend config.yaml"
            )
        if {key for key in node if str(key).startswith("_")} - {"_target_", "_partial_"}:
            raise ConfigError(f"{place} has settings of Hydra's own, as no run has: mend config.yaml")
        group = next((GROUPS[part] for part in target.split(".") if part in GROUPS), None)
        if signed or (target in allowed_targets() and group in (None, place.split(".")[0])):
            continue
        what = f"{place}: the config builds {target}, which"
        if not target.startswith(allowed):
            top = target.split(".")[0]
            never = top in {"ganlab", "pytorch_lightning", "torch"} | sys.stdlib_module_names
            remedy = f"if you know where this run comes from, trust=[{top}] allows it"
            remedy = "take it out of config.yaml" if never else remedy
            raise ConfigError(f"{what} is not ganlab's to build there: {remedy}")
        # The text came first, since looking an object up imports it; now where it really comes from.
        if not f"{origin(target)}.".startswith(allowed):
            raise ConfigError(f"{what} comes from {origin(target)}: take it out of config.yaml")


def origin(target: str) -> str:
    """The module that an object is defined in.

    Raises:
        ConfigError: there is no such object.
    """
    try:
        return getattr(get_object(target), "__module__", None) or ""
    except Exception as error:  # whatever an import may raise
        raise ConfigError(
            f"the config builds {target}, which does not exist here: {one_line(error)}"
        ) from error


def target_nodes(node: Any, place: str = "") -> Iterator[tuple[str, dict[Any, Any]]]:
    """The nodes of a config, or within one, that build something, and where they stand."""
    node = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if isinstance(node, dict) and "_target_" in node:
        yield place, node
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        yield from target_nodes(value, f"{place}.{key}" if place else str(key))


def parsed(content: bytes) -> Any:
    """A saved config: mappings, lists and values, and nothing that stands for something else.

    Raises:
        ConfigError: it is longer or deeper than a run writes it, or has an alias, tag or interpolation.
    """
    text, depth = content.decode(), 0
    for number, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1
        tag, value = getattr(event, "tag", None) or PATH, getattr(event, "value", "")
        too_much = depth > DEEPEST or number > LONGEST
        if too_much or getattr(event, "anchor", None) or not tag.startswith(PATH) or "${" in value:
            raise ConfigError(
                f"has an alias, a tag, an interpolation or too much in line {line}, "
                "as no run has: restore it, or start a new run"
            )
    return OmegaConf.create(text)


def signature(content: bytes) -> str | None:
    """What the user's own key says of a config; None where there is no such key."""
    try:
        return hmac.new(key(), content, "sha256").hexdigest()
    except (OSError, RuntimeError):  # the latter where there is no home
        return None


def key() -> bytes:
    """The user's own key on this machine, made when it is first asked for.

    Raises:
        OSError: it cannot be kept, or others could have read or written it.
    """
    place = cache_directory() / "key"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        fresh = place.with_name(f"key.{secrets.token_hex(4)}.part")
        with open(fresh, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(secrets.token_bytes(32))
        with suppress(FileExistsError):
            os.link(fresh, place)  # whole or not at all; of two processes one makes it
        fresh.unlink()
    with place.open("rb") as file:
        kept = os.fstat(file.fileno())
        if kept.st_uid != os.getuid() or kept.st_mode & 0o077 or kept.st_size != 32:
            raise PermissionError(f"{place} is not the user's alone")
        return file.read()
