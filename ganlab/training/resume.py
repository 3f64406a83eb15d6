"""Resuming a run: which overrides are allowed, and the config that results."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.compose import num_steps
from ganlab.config.overrides import PARSER, has_key, refuse_unknown_keys
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import validated_settings
from ganlab.core.errors import require

# Keys that do not change the game: the budget, what is written, and the hardware.
MUTABLE_KEYS = (
    "steps", "images", "trust", "resume", "class_names",
    "logger", "log_every", "evaluate_every", "sample_every", "checkpoint_every", "views", "profile",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy",
    "data.root", "data.test_root", "data.num_workers", "data.in_memory", "data.memory_limit",
)  # fmt: skip


def resumed_config(run: RunDirectory, cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The saved config of a run, with the overrides that a resume may have.

    Args:
        run: the run to resume.
        cfg: the default config with the overrides.
        overrides: the overrides of the command line.

    Raises:
        ConfigError: the directory is not a run, or overrides would change hyper-parameters.
    """
    saved = run.config()
    parsed = PARSER.parse_overrides(list(overrides))
    given = {override.key_or_group: override for override in parsed}  # the last override of each key
    dotted = [o for o in parsed if "." in o.key_or_group and not has_key(cfg, o.key_or_group)]
    refuse_unknown_keys([str(o.input_line) for o in dotted if not o.is_add()], saved)
    refuse_changes(given.values(), cfg, saved)
    if not run.signed_by_user:
        refuse_upload(saved, given)
    # Mutable keys are taken from an immutable group, too: trainer=ddp sets processes, but not the precision.
    groups = (key for key in given if "." not in key and not is_mutable(key))
    values = [leaf for group in groups for leaf in leaves(OmegaConf.select(cfg, group), group)]
    values += [(k, given[k].value() if "." in k else OmegaConf.select(cfg, k)) for k in given]
    for key, value in values:
        if is_mutable(key):
            OmegaConf.update(saved, key, value, merge=False, force_add=True)
    with open_dict(saved):
        if "images" in given:
            saved.steps = num_steps(saved.images, saved.data.batch_size, saved.default_steps)
        elif "steps" in given:
            saved.images = None
        saved.run_dir = str(run.path)
        saved.resume = cfg.resume
    return validated_settings(saved, overrides)


def is_mutable(key: str) -> bool:
    """Whether a resume may change a key."""
    return key.startswith(tuple(f"{name}." for name in MUTABLE_KEYS)) or key in MUTABLE_KEYS


def refuse_changes(given: Iterable[Override], cfg: DictConfig, saved: DictConfig) -> None:
    """Refuses overrides that would change hyper-parameters of the run; the error names these."""
    changed = (changed_keys(override, cfg, saved) for override in given)
    names = list(dict.fromkeys(chain.from_iterable(changed)))
    shown = ", ".join(names[:5] + ["..."] * bool(names[5:]))
    reason = f"continues the run as it was, but {shown} would change"
    require(not names, "resume", cfg.resume, reason, "remove these, or start a new run with init_from")


def refuse_upload(saved: DictConfig, given: Iterable[str]) -> None:
    """Refuses to upload to an account that is named only in the config of somebody else's run."""
    for name, logger in saved.logger.items():
        key, entity = f"logger.{name}.entity", OmegaConf.is_dict(logger) and logger.get("entity")
        reason = "is the account that this run, which was not made on this machine, would upload to"
        allowed = not entity or {"logger", key} & set(given)
        require(allowed, key, entity, reason, f"set {key}=..., or logger=csv")


def changed_keys(override: Override, cfg: DictConfig, saved: DictConfig) -> Iterator[str]:
    """The immutable keys that an override would change in the config of the run."""
    key = override.key_or_group
    if is_mutable(key):
        return
    if "." in key:
        if override.is_delete() or OmegaConf.select(saved, key) != override.value():
            yield key
        return
    # A group without a node of its own, such as experiment, may have changed any key.
    has_node = OmegaConf.select(cfg, key) is not None or OmegaConf.select(saved, key) is not None
    new, old = (
        dict(leaves(OmegaConf.select(c, key), key) if has_node else leaves(c, "")) for c in (cfg, saved)
    )
    for name in sorted(new.keys() | old.keys()):
        # Null in the new config is no change: the data set will determine it. A missing key (here "") is one.
        if new.get(name) != old.get(name) and not is_mutable(name) and new.get(name, "") is not None:
            yield name


def leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The keys and values below a node, whose key is `name`; for a value, its key and itself."""
    if isinstance(node, DictConfig):
        for key in node:
            yield from leaves(node[key], f"{name}.{key!s}" if name else str(key))
    else:
        yield name, OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
