"""What makes two runs the same: their config, their data, and the numbers that the code makes of them."""

import copy
import json
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.compose import CONF
from ganlab.config.resume import MUTABLE_KEYS
from ganlab.core.numerics import NUMERICS

PACKAGE = Path(__file__).parent.parent
SIZE = 12  # hex digits of a hash that are kept
# What changes no number of a run beyond its last bits: where it lies, what is written, the hardware. The
# budget counts as `steps`, and the seed stands beside: all runs of an arm have one hash.
OUTSIDE = [key for key in MUTABLE_KEYS if key not in ("steps", "callback")]
OUTSIDE += ["default_steps", "name", "seed", "run_dir", "job", "metric.weights"]
# Settings of the data that are younger than committed rows, and count only if they are given.
ONLY_IF_GIVEN = ("classes", "per_class", "share")


def config(cfg: DictConfig) -> str:
    """The hash of a composed config, without paths, hardware, logger and seed."""
    own = copy.deepcopy(cfg)
    with open_dict(own):
        own.steps = cfg.steps
        for key in OUTSIDE:
            # Before anything is resolved: other nodes may repeat it.
            if OmegaConf.select(own, key) is not None:
                OmegaConf.update(own, key, None, merge=False)
    resolved: Any = OmegaConf.to_container(own, resolve=True)
    for key in OUTSIDE:
        *groups, name = key.split(".")
        reduce(lambda node, group: node.get(group, {}), groups, resolved).pop(name, None)
    data = resolved["data"].items()
    resolved["data"] = {key: value for key, value in data if value is not None or key not in ONLY_IF_GIVEN}
    monitor = resolved.get("callback", {}).get("health", {})
    if not monitor.get("stop"):  # it changes nothing of a run
        resolved.get("callback", {}).pop("health", None)
    for key in ("borrows", "callback"):  # without any, a run has the hash that it had before this setting
        if not resolved.get(key):
            resolved.pop(key, None)
    return short(json.dumps(named(resolved), sort_keys=True, default=str).encode())


def hashes(cfg: DictConfig) -> dict[str, Any]:
    """What makes the numbers of a new run, from its composed config, for its summary.json."""
    return {"config_sha256": config(cfg), "code_sha256": code(), "numerics": NUMERICS}


def named(node: Any) -> Any:
    """A config in which ganlab's objects have their own names alone, so that they may move to other modules.

    Functions that build networks keep the name of their module: mlp.generator is not dcgan.generator.
    """
    if isinstance(node, list):
        return [named(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: named(value) for key, value in node.items()}
    if str(target := found.get("_target_", "")).startswith("ganlab."):
        *_, package, module, name = target.split(".")
        found["_target_"] = f"{module}.{name}" if package == "networks" and name.islower() else name
    return found


def settings() -> str:
    """The hash of all of conf/: while it is the same, what was composed is what a run composes."""
    return hashed(CONF, "*.yaml")


def code(package: Path = PACKAGE) -> str:
    """The hash of all Python files of this package; classes of one's own from elsewhere do not count."""
    return hashed(package, "*.py")


def hashed(folder: Path, pattern: str) -> str:
    """The hash of some files of a folder, with their names."""
    files = sorted(folder.rglob(pattern))
    return short(b"".join(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() for file in files))


def short(content: bytes) -> str:
    return sha256(content).hexdigest()[:SIZE]
