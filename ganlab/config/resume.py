"""The config that a run is played with: that of a resumed run, changed by the overrides that are allowed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.compose import num_steps
from ganlab.config.overrides import PARSER, has_key, unknown_key_error
from ganlab.config.run_directory import RunDirectory
from ganlab.config.setting_types import validated_settings
from ganlab.core.errors import require

# Keys that do not change the game: its length, what is written, the hardware, and where the data are.
MUTABLE_KEYS = (
    "steps", "images", "trust", "resume", "class_names",
    "logger", "callback", "log_every", "evaluate_every", "sample_every", "checkpoint_every", "views",
    "profile",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy",
    *(
        f"{data}.{key}"
        for data in ("data", "data.of")
        for key in ("root", "test_root", "path", "num_workers", "in_memory", "memory_limit")
    ),
)  # fmt: skip


def config_to_play(cfg: DictConfig, overrides: Sequence[str] = ()) -> tuple[DictConfig, RunDirectory | None]:
    """The config that a run is played with, and the directory of a run that is resumed.

    What this refuses is refused before the slow import of torch.

    Raises:
        ConfigError: the run to resume or to start from cannot be read, or overrides would change it.
    """
    reason = "cannot be combined with resume"
    require(not (cfg.resume and cfg.init_from), reason, "remove one of them", "init_from", cfg.init_from)
    if cfg.resume:
        is_given = any(override.lstrip("+").startswith("resume=") for override in overrides)
        remedy = "pass the overrides of the config to `train`, too"
        require(is_given, "needs to know which settings are new", remedy, "resume", cfg.resume)
        directory = RunDirectory(cfg.resume, cfg.trust)
        return resumed_config(directory, cfg, overrides), directory
    if cfg.init_from:
        RunDirectory(cfg.init_from, cfg.trust).config()  # refuses code that is not trusted
    if str(cfg.data.get("_target_")).endswith(".Folder"):
        is_folder = Path(cfg.data.root).expanduser().is_dir()
        require(is_folder, "is not a folder", "set it to a folder of images", "data.root", cfg.data.root)
    return cfg, None


def resumed_config(run: RunDirectory, cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The saved config of a run, changed by the overrides of the command that resumes it.

    Args:
        run: the run to resume.
        cfg: the config composed from conf/ and those overrides whose keys have no dot, because conf/ may lack
            a dotted key although the saved config has it.
        overrides: all overrides of the command line.

    Raises:
        ConfigError: the directory is not a run, or overrides would change hyper-parameters.
    """
    saved = run.config()
    parsed = PARSER.parse_overrides(list(overrides))
    dotted = [override for override in parsed if "." in override.key_or_group and not override.is_add()]
    # A dotted key must be in `cfg`, that is in conf/, or in the saved config. Others are refused as unknown.
    unchecked = [str(override.input_line) for override in dotted if not has_key(cfg, override.key_or_group)]
    if error := unknown_key_error(unchecked, saved):
        raise error
    given = {override.key_or_group: override for override in parsed}  # the last override of each key
    refuse_changes(given.values(), cfg, saved)
    if not run.made_by_user:  # the run was made by somebody else, or on a different machine
        refuse_upload(saved, given)
    for key, value in mutable_values(given, cfg):
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
    return any(key == mutable or key.startswith(f"{mutable}.") for mutable in MUTABLE_KEYS)


def mutable_values(given: Mapping[str, Override], cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    """The mutable keys that overrides set, with their values.

    First come the mutable keys of groups that are not mutable as a whole: `trainer=ddp` may set the number of
    processes, but not the precision. Then come the keys that are set one by one.
    """
    for key in given:
        if "." not in key and not is_mutable(key):
            yield from (leaf for leaf in leaves(OmegaConf.select(cfg, key), key) if is_mutable(leaf[0]))
    for key, override in given.items():
        if is_mutable(key):
            yield key, override.value() if "." in key else OmegaConf.select(cfg, key)


def refuse_changes(given: Iterable[Override], cfg: DictConfig, saved: DictConfig) -> None:
    """Refuses overrides that would change hyper-parameters of the run; the error names these."""
    changes = [name for override in given for name in changed_keys(override, cfg, saved)]
    names = list(dict.fromkeys(changes))  # without repetitions
    shown = ", ".join(names if len(names) <= 5 else [*names[:5], "..."])
    reason = f"continues the run as it was, but {shown} would change"
    require(not names, reason, "remove these, or start a new run with init_from", "resume", cfg.resume)


def refuse_upload(saved: DictConfig, given: Iterable[str]) -> None:
    """Refuses to upload to an account that is named only in the config of somebody else's run."""
    for name, logger in saved.logger.items():
        key = f"logger.{name}.entity"
        account = logger.get("entity") if OmegaConf.is_dict(logger) else None
        reason = "is the account that this run, which was not made on this machine, would upload to"
        allowed = not account or key in given or "logger" in given
        require(allowed, reason, f"set {key}=..., or logger=csv", key, account)


def changed_keys(override: Override, cfg: DictConfig, saved: DictConfig) -> Iterator[str]:
    """The immutable keys that an override would change in the config of the run."""
    key = override.key_or_group
    if is_mutable(key):
        return
    if "." in key:
        if override.is_delete() or OmegaConf.select(saved, key) != override.value():
            yield key
        return
    new_node, old_node = OmegaConf.select(cfg, key), OmegaConf.select(saved, key)
    if new_node is None and old_node is None:
        # A group such as `experiment` has no node of its own, but may change any key of the config.
        key, new_node, old_node = "", cfg, saved
    new, old = dict(leaves(new_node, key)), dict(leaves(old_node, key))
    for name in sorted(new.keys() | old.keys()):
        # A key such as data.num_classes is null until the data have been read; the saved config has a value.
        determined_by_data = name in new and new[name] is None
        if new.get(name) != old.get(name) and not is_mutable(name) and not determined_by_data:
            yield name


def leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The dotted key and the value of each leaf below a node with a name; a single value is the only leaf."""
    if isinstance(node, DictConfig):
        for key in node:
            yield from leaves(node[key], f"{name}.{key!s}" if name else str(key))
    else:
        yield name, OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
