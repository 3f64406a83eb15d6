"""Which objects a saved config may build: one that came with somebody's checkpoint is not to be believed.

A config names code, and what it names is run. So it is a list of objects that may be built, compared as text
before anything is looked up. Beyond it there is what the command line trusts, and what the user's own runs
on this machine were made of: their configs are signed with a key that lies in the user's cache.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from stat import S_ISREG
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from ganlab.cli import CONF
from ganlab.errors import Refused, one_line
from ganlab.machine import caches

# What may be built though no file of conf/ names it.
UNNAMED = (
    "ganlab.networks.initial.FanIn",
    "ganlab.networks.priors.TruncatedNormal",
    "ganlab.schedules.Constant",
    "ganlab.schedules.Cosine",
    "ganlab.schedules.HalfLife",
)
OPTIMISERS = (
    "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam RAdam RMSprop Rprop SGD SparseAdam"
)
# What reads, writes or starts something stands in its own group alone.
GROUPS = {
    "ganlab.callbacks.": "logger",
    "ganlab.data.": "data",
    "ganlab.training.processes.": "trainer",
    "pytorch_lightning.": "trainer",
}
LARGEST, DEEPEST = 1 << 18, 40  # bytes of a saved config, and how far it is nested


@cache
def listed() -> frozenset[str]:
    """The dotted names of what any saved config may build: what the groups of conf/ name, and a few more."""
    shipped = " ".join(path.read_text() for path in CONF.glob("*/**/*.yaml"))
    optimisers = (f"torch.optim.{name}" for name in OPTIMISERS.split())
    return frozenset([*re.findall(r"_target_: *([\w.]+)", shipped), *optimisers, *UNNAMED])


def check_trust(cfg: DictConfig, trust: Iterable[str] = (), signed: bool = False) -> None:
    """Refuses a config that would build what it may not.

    Args:
        trust: packages from which it may build anything.
        signed: whether the user's own key vouches for its targets.
    """
    packages = [None] if isinstance(trust, str) or not isinstance(trust, Iterable) else [*trust]
    if not all(isinstance(package, str) and package for package in packages):
        raise Refused(f"trust={trust} must be a list of packages, such as trust=[my_package]")
    allowed = tuple(f"{package}." for package in packages)
    for place, node in targets(cfg):
        target = node["_target_"]
        if not isinstance(target, str):
            raise Refused(f"{place}._target_={target} must be the dotted name of a class: mend config.yaml")
        if signed:
            continue
        for key in node.keys() & {"_args_", "_convert_", "_recursive_"}:
            raise Refused(
                f"{place}.{key}={node[key]} is in no config of ganlab's: take it out of config.yaml"
            )
        group = next((group for start, group in GROUPS.items() if target.startswith(start)), None)
        if target in listed() and group in (None, place.split(".")[0]):
            continue
        told = f"{place}: the config builds {target}, which"
        if not target.startswith(allowed):
            top = target.split(".")[0]
            ours = top in {"ganlab", "pytorch_lightning", "torch"} | sys.stdlib_module_names
            remedy = f"if you know where this run comes from, trust=[{top}] allows it"
            remedy = "take it out of config.yaml" if ours else remedy
            raise Refused(f"{told} is not ganlab's to build there: {remedy}")
        # The text came first, since looking an object up imports it; now where it really comes from.
        if not f"{origin(target)}.".startswith(allowed):
            raise Refused(f"{told} comes from {origin(target)}: take it out of config.yaml")


def origin(target: str) -> str:
    """The module that an object is defined in.

    Raises:
        Refused: there is no such object.
    """
    try:
        return getattr(get_object(target), "__module__", None) or ""
    except Exception as error:  # whatever an import may raise
        raise Refused(f"the config builds {target}, which does not exist here: {one_line(error)}") from error


def targets(node: Any, place: str = "") -> Iterator[tuple[str, dict[Any, Any]]]:
    """The nodes of a config, or within one, that build something, and where they stand."""
    node = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if isinstance(node, dict) and "_target_" in node:
        yield place, node
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        yield from targets(value, f"{place}.{key}" if place else str(key))


def parsed(content: bytes) -> DictConfig:
    """A saved config: mappings, lists and values, and nothing that stands for something else.

    Raises:
        Refused: it is larger or deeper than a run writes it, or holds an alias, a tag or an interpolation.
    """
    remedy = "which no run has written: restore it, or start a new run"
    if len(content) > LARGEST:
        raise Refused(f"has more than {LARGEST:,} bytes, {remedy}")
    text, depth = content.decode(), 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise Refused(f"is nested more than {DEEPEST} deep, {remedy}")
        for kind, found in (
            ("an alias", getattr(event, "anchor", None)),
            ("a tag", getattr(event, "tag", None)),
            ("an interpolation", "${" in getattr(event, "value", "") and event.value),
        ):
            if found:
                raise Refused(f"has {kind}, {found}, in line {event.start_mark.line + 1}, {remedy}")
    cfg = OmegaConf.create(text)
    if not isinstance(cfg, DictConfig):
        raise Refused("is not the config of a run: restore it, or start a new run")
    return cfg


def signature(content: bytes) -> str | None:
    """What the user's own key says of a config; None where there is no such key."""
    own = key()
    return None if own is None else hmac.new(own, content, "sha256").hexdigest()


def key() -> bytes | None:
    """The user's own key on this machine, made when it is first asked for.

    None where it cannot be kept, or where others could have read or written it.
    """
    try:
        place = caches() / "key"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(place):
            handle, fresh = tempfile.mkstemp(dir=place.parent)
            with open(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
            with suppress(FileExistsError):  # another process was faster
                os.link(fresh, place)
            os.unlink(fresh)
        with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            kept = os.fstat(file.fileno())
            private = S_ISREG(kept.st_mode) and kept.st_uid == os.getuid() and not kept.st_mode & 0o077
            return file.read() if private and kept.st_size == 32 else None
    except (OSError, RuntimeError):  # the latter where there is no home
        return None
