"""Composing a config from conf/ and a command line, and refusing what nothing would read. Needs no torch."""

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

from ganlab.config.kinds import check_kinds
from ganlab.config.overrides import quote_override, refuse_unknown_keys
from ganlab.core.errors import ConfigError, Diverged, IncompleteStudy, RankLost, for_terminal

PACKAGE = Path(__file__).parent.parent
# Beside the package in a checkout, inside of it in a wheel.
CONF = next(place for place in (PACKAGE / "conf", PACKAGE.parent / "conf") if place.is_dir())
SEVERAL = ("trick", "metric", "logger")  # groups of which a config takes many


def num_steps(images: int | None, batch_size: int, default: int) -> int:
    """The budget in rounds: as many as show `images` real images, or the default where that is null."""
    return default if images is None else ceil(images / max(batch_size, 1))


OmegaConf.register_new_resolver("num_steps", num_steps, replace=True)


def compose(*overrides: str, config_name: str = "run") -> DictConfig:
    """The config of a command line, for notebooks, tests and commands that play runs of their own."""
    overrides = tuple(map(quote_override, overrides))
    with hydra_ready():
        try:
            cfg = hydra.compose(config_name, list(overrides))
        except (HydraException, ValueError, TypeError) as error:
            better = explain_error(error, config_name, overrides)
            raise better from (error.__cause__ if better is error else error)
        return validated(cfg, config_name, overrides)


def hydra_ready() -> AbstractContextManager[Any]:
    """Initialises Hydra with conf/, unless `launch` has done so: it cannot be done twice."""
    if GlobalHydra.instance().is_initialized():
        return nullcontext()
    return hydra.initialize_config_dir(str(CONF), version_base="1.3")


def validated(cfg: DictConfig, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a command, of which every override is read by something and each value is of its kind."""
    refuse_dropped_overrides(overrides)
    if any(override.startswith("+") for override in overrides):
        refuse_unknown_overrides(config_name, overrides)
    return check_kinds(cfg, overrides)


def explain_error(error: BaseException, config_name: str, overrides: Sequence[str]) -> BaseException:
    """The error, or a refusal that names the nearest setting where an unknown one made Hydra raise it."""
    if isinstance(error, OverrideParseException):
        return ConfigError(f"{error.override} cannot be read: settings are given as key=value")
    try:
        if isinstance(error, HydraException | ValueError | TypeError) and not isinstance(error, ConfigError):
            refuse_unknown_overrides(config_name, overrides)
    except ConfigError as refusal:
        return refusal
    except HydraException:
        pass
    return error


def refuse_unknown_overrides(config_name: str, overrides: Sequence[str]) -> None:
    """Refuses overrides that nothing would read, with the nearest that something would."""
    with hydra_ready():
        options = GlobalHydra.instance().config_loader().get_group_options
        pairs = [override.lstrip("+").partition("=") for override in overrides]
        # Those that choose options that there are, so that the config has their keys.
        good = [set(value.strip("[]").split(",")) <= {*options(key.split("@")[0])} for key, _, value in pairs]
        base = hydra.compose(config_name, list(compress(overrides, good)))
        refuse_unknown_keys(overrides, base, options)


def refuse_dropped_overrides(overrides: Sequence[str]) -> None:
    """Refuses what Hydra would drop in silence: of `+group=a` beside `group=[b]`, or of `data=[a,b]`."""
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    for key, value in given.items():
        group = key.removeprefix("+")
        if "," in value and value[0] == "[" and (CONF / group).is_dir() and group not in SEVERAL:
            raise ConfigError(f"{key}={value} would lose all but one: give one of them")
        if key != group and group in given and (CONF / group).is_dir():
            raise ConfigError(
                f"{key}={value} would be lost beside {group}={given[group]}: give all of them as one list, "
                f"'{group}=[...]'"
            )


def one_line_message(error: BaseException) -> str:
    """An error in one line, without what Hydra adds for its own debugging."""
    text = str(error)
    for aside in ("Config search path:", "object_type=", "To append to your config use"):
        text = text.split(aside)[0]
    if (
        not isinstance(error, ConfigError | Diverged | RankLost | IncompleteStudy)
        and error.__cause__ is not None
    ):
        text = f"{text} {error.__cause__}".split("object_type=")[0]
    text = text.replace("Available options in", "- available in").split("full_key:")[0]
    return for_terminal(" ".join(text.split()))
