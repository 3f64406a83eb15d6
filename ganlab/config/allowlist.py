"""The objects that a saved config may build: it may be the config of a run that somebody else has sent.

A config names classes in its `_target_` entries, and building their objects runs their code. So these names
are compared with a list, as text, before anything is imported. A config may also build objects of packages
that `trust=` on the command line allows. The configs of the user's runs on this machine may build anything:
they are signed with a key in the user's cache directory.
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

from hydra.utils import get_object
from omegaconf import DictConfig

from ganlab.config.compose import CONF
from ganlab.config.kinds import containers, to_plain
from ganlab.core.errors import ConfigError, error_message, require
from ganlab.filesystem import cache_directory

# Objects that may be built although no file of conf/ names them.
UNNAMED = """
ganlab.networks.initial.FanIn ganlab.networks.priors.TruncatedNormal
ganlab.core.schedules.Constant ganlab.core.schedules.Cosine
ganlab.core.schedules.HalfLife ganlab.core.schedules.WarmUp
torch.optim.ASGD torch.optim.Adadelta torch.optim.Adafactor torch.optim.Adagrad torch.optim.Adam
torch.optim.AdamW torch.optim.Adamax torch.optim.LBFGS torch.optim.Muon torch.optim.NAdam torch.optim.RAdam
torch.optim.RMSprop torch.optim.Rprop torch.optim.SGD torch.optim.SparseAdam
"""
# Packages and folders whose objects read, write or start something, each with the one config group in which
# these may be built.
ONLY_GROUP = {"callbacks": "logger", "data": "data", "processes": "trainer", "pytorch_lightning": "trainer"}


@cache
def allowed_targets() -> frozenset[str]:
    """The dotted names that any saved config may build: all targets of conf/, and a few more."""
    shipped = " ".join(path.read_text() for path in CONF.glob("*/**/*.yaml"))
    return frozenset([*re.findall(r"_target_: *([\w.]+)", shipped), *UNNAMED.split()])


def check_trust(cfg: DictConfig, trust: Iterable[str] = (), signed_by_user: bool = False) -> None:
    """Checks everything that a config would build.

    Args:
        trust: packages from which the config may build anything.
        signed_by_user: whether the config has a valid signature of this user, and so may build anything.

    Raises:
        ConfigError: the config builds something that is neither listed, trusted nor signed.
    """
    is_list = not isinstance(trust, str | int | float | None)
    valid = is_list and all(isinstance(name, str) and name for name in trust)
    require(valid, "trust", trust, "must be a list of packages", "give, for example, trust=[my_package]")
    prefixes = tuple(f"{package}." for package in trust)
    edit = "edit config.yaml"
    for key, node in target_nodes(cfg):
        target = node["_target_"]
        is_name = isinstance(target, str) and re.fullmatch(r"\w+(\.\w+)+", target)
        require(is_name, f"{key}._target_", target, "must be the dotted name of a class", edit)
        special = {name for name in node if str(name).startswith("_")} - {"_target_", "_partial_"}
        require(not special, key, target, "has settings of Hydra's, which no run has", edit)
        group = next(filter(None, map(ONLY_GROUP.get, target.split("."))), None)
        if signed_by_user or (target in allowed_targets() and group in (None, key.split(".")[0])):
            continue
        top = target.split(".")[0]
        is_known = top in {"ganlab", "pytorch_lightning", "torch"} | sys.stdlib_module_names
        remove = "remove it from config.yaml"
        remedy = remove if is_known else f"if you know where this run comes from, allow it by trust=[{top}]"
        require(target.startswith(prefixes), key, target, "is not on the list of objects to build", remedy)
        # The name may be that of an object that a trusted package imports. Only an import shows this.
        module = defining_module(key, target)
        require(f"{module}.".startswith(prefixes), key, target, f"is defined in {module}", remove)


def defining_module(key: str, target: str) -> str:
    """The module that an object is defined in.

    Raises:
        ConfigError: there is no such object.
    """
    try:
        return getattr(get_object(target), "__module__", None) or ""
    except Exception as error:  # whatever an import may raise
        raise ConfigError(f"does not exist here ({error_message(error)})", "", key, target) from error


def target_nodes(node: Any) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The nodes of a config that build an object, each after its key."""
    return ((key, part) for key, part in containers(to_plain(node)) if "_target_" in part)


def signature(content: bytes) -> str | None:
    """The signature of a config by the user's key; None if there is no such key."""
    try:
        return hmac.new(signing_key(), content, "sha256").hexdigest()
    except (OSError, RuntimeError):  # a RuntimeError if there is no home directory
        return None


def signing_key() -> bytes:
    """The user's key on this machine, created on first use.

    Raises:
        OSError: the key cannot be stored, or others could have read or written it.
    """
    path = cache_directory() / "key"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        new = path.with_name(f"key.{secrets.token_hex(4)}.part")
        with open(new, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(secrets.token_bytes(32))
        with suppress(FileExistsError):
            os.link(new, path)  # atomic: if two processes do this at once, one succeeds
        new.unlink()
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or status.st_mode & 0o077 or status.st_size != 32:
            raise PermissionError(f"{path} is accessible to others")
        return file.read()
