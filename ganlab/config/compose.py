"""Composition of a config from conf/ and a command line. Imports nothing slow, such as torch."""

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import compress
from math import ceil
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from ganlab.config.kinds import validated_settings
from ganlab.config.overrides import quote_override, refuse_unknown_keys, unreadable_override
from ganlab.core.errors import ConfigError, Diverged, IncompleteStudy, ProcessLost, require, terminal_text

PACKAGE = Path(__file__).parent.parent
# Inside the package in a wheel, next to it in a checkout.
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())
MULTIPLE_CHOICE = ("trick", "metric", "logger")  # groups of which a config may select several options
OWN_ERRORS = (ConfigError, Diverged, ProcessLost, IncompleteStudy)  # their messages are for the user
HYDRA_DETAILS = re.compile("Config search path:|object_type=|To append to your config use")


def num_steps(images: int | None, batch_size: int, default: int) -> int:
    """The number of steps that show at least `images` real images; `default` if `images` is None."""
    return default if images is None else ceil(images / max(batch_size, 1))


OmegaConf.register_new_resolver("num_steps", num_steps, replace=True)


def compose(*overrides: str, config_name: str = "run") -> DictConfig:
    """The config of a command line, for notebooks, tests and commands that start runs."""
    overrides = tuple(map(quote_override, overrides))
    with hydra_ready():
        try:
            cfg = hydra.compose(config_name, list(overrides))
        except (HydraException, ValueError, TypeError) as error:
            explained = explain_error(error, config_name, overrides)
            raise explained from (error.__cause__ if explained is error else error)
        return validated_composition(cfg, config_name, overrides)


def hydra_ready() -> AbstractContextManager[Any]:
    """Initialises Hydra with conf/, unless `launch` has done so: it cannot be done twice."""
    if GlobalHydra.instance().is_initialized():
        return nullcontext()
    return hydra.initialize_config_dir(str(CONF), version_base="1.3")


def validated_composition(cfg: DictConfig, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a command after a check of its overrides and settings, with `~` expanded in paths.

    Raises:
        ConfigError: an override has no effect, or a value is of the wrong kind.
    """
    refuse_dropped_overrides(overrides)
    if any(override.startswith("+") for override in overrides):
        refuse_unknown_overrides(config_name, overrides)
    return validated_settings(cfg, overrides)


def explain_error(error: BaseException, config_name: str, overrides: Sequence[str]) -> BaseException:
    """The error itself, or a `ConfigError` that names the nearest setting if an unknown one caused it."""
    if isinstance(error, OverrideParseException):
        return unreadable_override(error.override)
    try:
        if isinstance(error, HydraException | ValueError | TypeError) and not isinstance(error, ConfigError):
            refuse_unknown_overrides(config_name, overrides)
    except ConfigError as unknown:
        return unknown
    except HydraException:
        pass
    return error


def refuse_unknown_overrides(config_name: str, overrides: Sequence[str]) -> None:
    """Refuses overrides of settings and options that do not exist."""
    with hydra_ready():
        options = GlobalHydra.instance().config_loader().get_group_options
        pairs = [override.lstrip("+").partition("=") for override in overrides]
        # The existing options are composed, so that the config has their keys.
        exist = [
            set(value.strip("[]").split(",")) <= {*options(key.split("@")[0])} for key, _, value in pairs
        ]
        base = hydra.compose(config_name, list(compress(overrides, exist)))
        refuse_unknown_keys(overrides, base, options)


def refuse_dropped_overrides(overrides: Sequence[str]) -> None:
    """Refuses what Hydra drops silently: `+group=a` next to `group=[b]`, and all but one of `data=[a,b]`."""
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    for key, value in given.items():
        group = key.removeprefix("+")
        if os.path.isdir(CONF / group):
            single = group in MULTIPLE_CHOICE or "," not in value or value[0] != "["
            require(single, key, value, "takes a single option", "choose one of them")
            lost = f"is lost next to {group}={given.get(group)}"
            remedy = f"give all of them as one list, '{group}=[...]'"
            require(key == group or group not in given, key, value, lost, remedy)


def user_message(error: BaseException) -> str:
    """The message of an error in one line, without the details that Hydra adds for its own debugging."""
    errors = [error] if isinstance(error, OWN_ERRORS) or error.__cause__ is None else [error, error.__cause__]
    text = " ".join(HYDRA_DETAILS.split(str(part))[0] for part in errors).split("full_key:")[0]
    return terminal_text(" ".join(text.replace("Available options in", "- available in").split()))
