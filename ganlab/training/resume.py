"""Resuming a run: which overrides are allowed, and the config that results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.compose import num_steps
from ganlab.config.kinds import check_kinds
from ganlab.config.overrides import PARSER, has_key, refuse_unknown_keys
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError

if TYPE_CHECKING:
    from ganlab.data.base import Data

# What never changes the game: the budget, what is written, and the hardware.
MUTABLE_KEYS = (
    "steps", "images", "trust", "resume", "class_names",
    "logger", "log_every", "evaluate_every", "sample_every", "checkpoint_every", "views", "profile",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy",
    "data.root", "data.test_root", "data.num_workers", "data.in_memory", "data.memory_limit",
)  # fmt: skip


def resumed(run: RunDirectory, cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The config of the run that `cfg.resume` names, with the overrides that a resume may have.

    Args:
        run: which it is.
        cfg: composed with the overrides.
        overrides: those of the command line.

    Raises:
        ConfigError: it is not a run, or an override changes a hyper-parameter; all of them are named.
    """
    saved = run.config()
    parsed = PARSER.parse_overrides(list(overrides))
    given = {override.key_or_group: override for override in parsed}.values()  # the last of a key counts
    dotted = [o for o in parsed if "." in o.key_or_group and not has_key(cfg, o.key_or_group)]
    refuse_unknown_keys([str(o.input_line) for o in dotted if not o.is_add()], saved, lambda _: [])
    refuse_changes(given, cfg, saved)
    keys = [override.key_or_group for override in given]
    if not run.signed:
        refuse_upload(saved, keys)
    for group in (key for key in keys if "." not in key and not free(key)):
        # What is free in it is asked for: trainer=ddp brings processes, though it cannot bring a precision.
        for name, value in leaves(OmegaConf.select(cfg, group), group):
            if free(name):
                OmegaConf.update(saved, name, value, merge=False, force_add=True)
    for override in filter(lambda override: free(override.key_or_group), given):
        key = override.key_or_group
        value = override.value() if "." in key else OmegaConf.select(cfg, key)
        OmegaConf.update(saved, key, value, merge=False, force_add=True)
    with open_dict(saved):
        if "images" in keys:
            saved.steps = num_steps(saved.images, saved.data.batch_size, saved.default_steps)
        elif "steps" in keys:
            saved.images = None
        saved.run_dir = str(run.path)
        saved.resume = cfg.resume
    return check_kinds(saved, overrides)


def refuse_changes(given: Iterable[Override], cfg: DictConfig, saved: DictConfig) -> None:
    """Refuses overrides that would change a hyper-parameter of the run, and names them."""
    changed = (changes(override, cfg, saved) for override in given if not free(override.key_or_group))
    if names := list(dict.fromkeys(chain.from_iterable(changed))):
        raise ConfigError(
            f"resume={cfg.resume} continues the run as it was, but {', '.join(names[:5])}"
            f"{', ...' if names[5:] else ''} would change: leave these out, or start a new run with init_from"
        )


def refuse_upload(saved: DictConfig, keys: Iterable[str]) -> None:
    """Refuses to upload to an account that the config of somebody else's run names."""
    for name, logger in saved.logger.items():
        entity = OmegaConf.is_dict(logger) and logger.get("entity")
        if entity and not {"logger", f"logger.{name}.entity"} & set(keys):
            raise ConfigError(
                f"logger.{name}.entity={entity} is where this run, which was not made here, would have you "
                f"upload: give logger.{name}.entity=..., or logger=csv"
            )


def free(key: str) -> bool:
    return key.startswith(tuple(f"{name}." for name in MUTABLE_KEYS)) or key in MUTABLE_KEYS


def changes(override: Override, cfg: DictConfig, saved: DictConfig) -> Iterator[str]:
    """The names of what an override would change in the config of the run."""
    key = override.key_or_group
    if "." in key:
        if override.is_delete() or OmegaConf.select(saved, key) != override.value():
            yield key
        return
    # A group without a node of its own, such as experiment, may have changed anything.
    there = OmegaConf.select(cfg, key) is not None or OmegaConf.select(saved, key) is not None
    mine, theirs = (
        dict(leaves(OmegaConf.select(c, key) if there else c, key if there else "")) for c in (cfg, saved)
    )
    for name in sorted(mine.keys() | theirs.keys()):
        # A fact that the data set found out by itself was null in the config.
        if mine.get(name) != theirs.get(name) and not free(name) and mine.get(name, "") is not None:
            yield name


def leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, DictConfig):
        for key in node:
            yield from leaves(node[key], f"{name}.{key!s}" if name else str(key))
    else:
        yield name, OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def refuse_other_data(cfg: DictConfig, summary: Mapping[str, Any], data: Data, sha256: str | None) -> None:
    """Refuses data other than those that the run was trained on, as its config and its summary tell."""
    for what, then, now in (
        ("{} samples, but there are {}", summary.get("training_samples"), len(data)),
        ("the classes {}, but they are {}", cfg.get("class_names"), list(data.class_names or ())),
        (
            "data of SHA-256 {:.12}, but it is {:.12}",
            summary.get("data_sha256") and str(summary["data_sha256"]),
            sha256,
        ),
    ):
        if None not in (then, now) and then != now:
            raise ConfigError(
                f"{cfg.resume} was trained on {what.format(then, now)} now: restore the data, or start a new "
                "run with init_from"
            )
