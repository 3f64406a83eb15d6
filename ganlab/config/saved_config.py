"""The config.yaml of a run: how it is parsed, its format, and the objects that it may build.

A config names classes in its `_target_` entries, and building their objects runs their code. Somebody else
may have sent the run, so these names are compared with a list, as text, before anything is imported. A config
may also build objects of packages that `trust=` on the command line allows. The configs of the user's runs on
this machine may build anything: they are signed with a key in the user's cache directory.
"""

import hmac
import os
import re
import secrets
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

from ganlab.config.compose import CONF
from ganlab.config.setting_types import SETTING_TYPES, target_nodes
from ganlab.core.errors import ConfigError, error_message, format_value, require
from ganlab.filesystem import cache_directory

FORMAT = 2  # the format of run directories that this version reads and writes
# The settings at the top of a config that are mappings. SETTING_TYPES has the type of each dotted key.
REQUIRED_GROUPS = sorted(key for key, kind in SETTING_TYPES.items() if kind is dict and "." not in key)
# The largest number of events of the parser (see `parse_plain`), and the deepest nesting of values.
MAX_EVENTS, MAX_DEPTH = 50_000, 40
PATH_TAG = "tag:yaml.org,2002:python/object/apply:pathlib."  # the one allowed tag: a setting may be a Path
RESTORE_REMEDY = "restore it, or start a new run"
# Objects that may be built although no file of conf/ names them.
ADDITIONAL_TARGETS = """
ganlab.networks.initial.FanIn ganlab.networks.priors.TruncatedNormal
ganlab.networks.plain.generator ganlab.networks.plain.discriminator ganlab.networks.plain.encoder
ganlab.core.schedules.Constant ganlab.core.schedules.Cosine
ganlab.core.schedules.HalfLife ganlab.core.schedules.WarmUp
torch.optim.ASGD torch.optim.Adadelta torch.optim.Adafactor torch.optim.Adagrad torch.optim.Adam
torch.optim.AdamW torch.optim.Adamax torch.optim.LBFGS torch.optim.Muon torch.optim.NAdam torch.optim.RAdam
torch.optim.RMSprop torch.optim.Rprop torch.optim.SGD torch.optim.SparseAdam
"""
# Some objects read files, write files or start processes, so each of them may be built in some groups of
# the config only: a dotted name with the part `callbacks`, as in ganlab.training.callbacks.tensorboard, may
# occur in the groups `callback` and `logger` only, and so on.
ONLY_GROUPS = {
    "callbacks": ("callback", "logger"), "data": ("data",),
    "processes": ("trainer",), "pytorch_lightning": ("callback", "trainer"),
}  # fmt: skip
REMOVE = "remove it from config.yaml"  # a remedy


def parse_plain(content: bytes, is_study: bool = False) -> Any:
    """Parses YAML that has mappings, lists and plain values only, and refuses any other.

    The texts of a study may hold `${`, which stays as it is; its values are no nodes of OmegaConf.

    Raises:
        ConfigError: the file has something else, as an alias, or is too large.
        yaml.YAMLError, OmegaConfBaseException, ValueError: it cannot be parsed, or a key stands there twice.
    """
    text = content.decode()
    depth = 0  # how many mappings and lists are open
    # The parser yields an event for each value, and for the start and the end of each mapping and list.
    for number, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag, value = getattr(event, "tag", None), getattr(event, "value", "")
        has_alias, has_tag = getattr(event, "anchor", None), tag and not tag.startswith(PATH_TAG)
        unsafe = has_alias or has_tag or ("${" in value and not is_study)
        if unsafe or depth > MAX_DEPTH or number > MAX_EVENTS:
            reason = "has an alias, a tag or an interpolation, or is too large or too deeply nested,"
            raise ConfigError(f"{reason} in line {event.start_mark.line + 1}", RESTORE_REMEDY)
    return yaml.load(text, get_yaml_loader()) if is_study else OmegaConf.create(text)


def validated_saved_config(content: bytes, summary: Mapping[str, Any]) -> DictConfig:
    """The config in a file after a check of its groups and its format, without the key `format`.

    Raises:
        ConfigError: a group is missing, or this version does not read the format. The error names the version
            of ganlab that wrote the run, if the run's summary does.
    """
    cfg = parse_plain(content)
    if not isinstance(cfg, DictConfig):
        raise ConfigError("is not the config of a run", RESTORE_REMEDY)
    saved_format = cfg.pop("format", None)
    if saved_format is not None:
        cfg.setdefault("callback", {})  # runs that are older than this setting have none
    missing = [name for name in REQUIRED_GROUPS if not isinstance(cfg.get(name), DictConfig)]
    # A file without format that lacks groups is not the config of a run. In any other, a wrong format is
    # reported first, because it explains why groups are missing.
    is_run_config = saved_format is not None or not missing
    if is_run_config and not (type(saved_format) is int and saved_format == FORMAT):
        versions = summary.get("versions")
        version = versions.get("torch-ganlab") if isinstance(versions, dict) else None
        writer = f"ganlab {version}" if isinstance(version, str) else "the version of ganlab that wrote it"
        reason = f"has format={format_value(saved_format)}, but this version of ganlab reads format {FORMAT}"
        raise ConfigError(reason, f"use {writer} for this run, or start a new one")
    if missing:
        value = format_value(cfg.get(missing[0]))
        raise ConfigError(f"is not the config of a run: {missing[0]}={value}", RESTORE_REMEDY)
    names = cfg.get("class_names") or []
    if not isinstance(names, list | ListConfig) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"has class_names={names}, which must be strings", RESTORE_REMEDY)
    return cfg


@cache
def allowed_targets() -> frozenset[str]:
    """The dotted names that any saved config may build: all targets of conf/, and a few more."""
    shipped = " ".join(path.read_text() for path in CONF.glob("*/**/*.yaml"))
    return frozenset([*re.findall(r"_target_: *([\w.]+)", shipped), *ADDITIONAL_TARGETS.split()])


def check_trust(cfg: DictConfig, trust: Iterable[str] = (), signed_by_user: bool = False) -> None:
    """Checks everything that a saved config would build.

    Raises:
        ConfigError: the config builds something that is neither listed, nor of a package in `trust`, nor
            signed by this user.
    """
    is_list = not isinstance(trust, str | int | float | None)  # it may be a list of OmegaConf
    is_valid = is_list and all(isinstance(name, str) and name for name in trust)
    require(is_valid, "must be a list of packages", "give, for example, trust=[my_package]", "trust", trust)
    trusted_prefixes = tuple(f"{package}." for package in trust)
    for key, node in target_nodes(cfg):
        target = node["_target_"]
        remedy = "edit config.yaml"
        is_dotted_name = isinstance(target, str) and re.fullmatch(r"\w+(\.\w+)+", target)
        require(is_dotted_name, "must be the dotted name of a class", remedy, f"{key}._target_", target)
        hydra_settings = {name for name in node if str(name).startswith("_")} - {"_target_", "_partial_"}
        require(not hydra_settings, "has settings of Hydra that ganlab never writes", remedy, key, target)
        group = key.split(".")[0]
        in_its_group = all(group in ONLY_GROUPS.get(name, (group,)) for name in target.split("."))
        if signed_by_user or (target in allowed_targets() and in_its_group):
            continue
        package = target.split(".")[0]
        # For these packages the list is complete, so an unlisted object is no reason to trust the package.
        is_listed_package = package in {"ganlab", "pytorch_lightning", "torch"} | sys.stdlib_module_names
        allow = f"if you know where this run comes from, allow it by trust=[{package}]"
        remedy = REMOVE if is_listed_package else allow
        is_trusted = target.startswith(trusted_prefixes)
        require(is_trusted, "is not on the list of objects to build", remedy, key, target)
        # A trusted package may import the object from a module that is not trusted.
        try:
            module = getattr(get_object(target), "__module__", None)
        except Exception as error:  # whatever an import may raise
            raise ConfigError(f"does not exist here ({error_message(error)})", "", key, target) from error
        require(f"{module}.".startswith(trusted_prefixes), f"is defined in {module}", REMOVE, key, target)


def signature(content: bytes) -> str | None:
    """The signature of a config by the user's key; None if there is no such key."""
    with suppress(OSError, RuntimeError):  # a RuntimeError if there is no home directory
        return hmac.new(signing_key(), content, "sha256").hexdigest()
    return None


def signing_key() -> bytes:
    """The user's key on this machine, created on first use; an `OSError` if others could read or write it."""
    path = cache_directory() / "key"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial_file = path.with_name(f"key.{secrets.token_hex(4)}.part")
        with open(partial_file, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(secrets.token_bytes(32))
        with suppress(FileExistsError):
            os.link(partial_file, path)  # atomic: if two processes do this at once, one succeeds
        partial_file.unlink()
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or status.st_mode & 0o077 or status.st_size != 32:
            raise PermissionError(f"{path} is accessible to others")
        return file.read()
