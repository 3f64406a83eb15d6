"""What makes two runs the same: their config, their data, and the code that plays them."""

import copy
import json
from functools import reduce
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.cli import CONF
from ganlab.free import FREE
from ganlab.suites.hashes import hashed, short

# What changes no number of a run beyond its last bits: where it lies, what is written, the hardware. The
# budget counts as `steps`, and the seed stands beside: all runs of an arm have one hash.
OUTSIDE = [key for key in FREE if key != "steps"]
OUTSIDE += ["default_steps", "name", "seed", "run_dir", "job", "metric.weights"]


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
    return short(json.dumps(resolved, sort_keys=True, default=str).encode())


def settings() -> str:
    """The hash of all of conf/: while it is the same, what was composed is what a run composes."""
    return hashed(CONF, "*.yaml")


def run(config: str, seed: int, data: str, code: str) -> str:
    """The hash of all that makes a run what it is."""
    return short(f"{config} {seed} {data} {code}".encode())
