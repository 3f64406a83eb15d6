"""Composition of a config from conf/ and a command line. Imports nothing slow, such as torch."""

import os
import re
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from ganlab.config.overrides import quote_override, unknown_key_error, unreadable_override_error
from ganlab.config.setting_types import NAMED_ENTRIES, TYPES_OF_COMMANDS, validated_settings
from ganlab.core.errors import ConfigError, Diverged, ProcessLost, UnfinishedRuns, require, terminal_text

# Inside the package in a wheel, next to it in a checkout.
CONF = next(folder / "conf" for folder in Path(__file__).parents[1:3] if (folder / "conf").is_dir())
# The groups from which a config may select several options.
MULTIPLE_CHOICE = ("trick", "metric", "logger", "callback")
OWN_ERRORS = (ConfigError, Diverged, ProcessLost, UnfinishedRuns)  # the errors that ganlab itself raises
# Phrases with which Hydra and OmegaConf start those parts of a message that help only to debug them.
HYDRA_DETAILS = re.compile("Config search path:|object_type=|To append to your config use")


def num_steps(images: int | None, batch_size: int, default: int) -> int:
    """The number of steps that show at least `images` real images; `default` if `images` is None."""
    return default if images is None else ceil(images / max(batch_size, 1))


def num_processes(cfg: DictConfig) -> int:
    """The number of processes of a run, on all machines."""
    return int(cfg.trainer.devices * cfg.trainer.get("num_nodes", 1))


OmegaConf.register_new_resolver("num_steps", num_steps, replace=True)


def compose(*overrides: str, config_name: str = "run") -> DictConfig:
    """The config of a command line, for notebooks, tests and commands that start runs.

    Args:
        overrides: texts such as "steps=20"; "hydra.searchpath=[settings]" adds a folder of config files.
        config_name: the command.

    Raises:
        ConfigError: an override cannot be read, or there is no such setting or option.
    """
    for word in overrides:
        require(isinstance(word, str), "is no text", 'pass each override as one: "steps=20"', value=word)
    overrides = tuple(map(quote_override, overrides))
    with initialized_hydra():
        try:
            cfg = hydra.compose(config_name, list(overrides))
        except (HydraException, ValueError, TypeError) as error:
            explained = explain_error(error, config_name, overrides)
            if isinstance(explained, ConfigError):
                raise explained from error
            raise ConfigError(user_message(error).rstrip(".")) from error
        return validated_composition(cfg, config_name, overrides)


@contextmanager
def initialized_hydra() -> Iterator[None]:
    """A context in which Hydra is initialised with conf/, as it is in a command.

    In somebody else's Hydra app, Hydra is theirs again afterwards.
    """
    theirs: Any = GlobalHydra.instance().hydra
    sources = theirs.config_loader.get_sources() if theirs else ()
    if any(source.scheme() == "file" and Path(source.path) == CONF for source in sources):
        yield
        return
    GlobalHydra.instance().hydra = None
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = theirs


def validated_composition(cfg: DictConfig, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a command after a check of overrides and settings. Expands `~` in its paths, in place."""
    refuse_dropped_overrides(overrides)
    # Hydra itself refuses unknown keys without a "+"; `explain_error` turns its error into a `ConfigError`.
    has_additions = any(override.startswith("+") for override in overrides)
    if has_additions and (error := unknown_override_error(config_name, overrides)):
        raise error
    refuse_unread_keys(cfg, config_name)
    return validated_settings(cfg, overrides, TYPES_OF_COMMANDS.get(config_name, {}))


def refuse_unread_keys(cfg: DictConfig, config_name: str) -> None:
    """Refuses settings of the user's config files that neither ganlab nor any `${...}` of a setting reads."""
    text = str(OmegaConf.to_container(cfg, resolve=False))
    keys = {*map(str, cfg), *(f"evaluation.{key}" for key in cfg.get("evaluation") or ())}
    for key in sorted(keys.difference(known_keys(config_name))):
        nearest = get_close_matches(key, known_keys(config_name), n=1)
        remedy = f"write {nearest[0]}, or remove it" if nearest else "remove it"
        require(f"${{{key}" in text, "is read by nothing", remedy, key)


@cache
def known_keys(config_name: str) -> tuple[str, ...]:
    """The settings of a command that ganlab reads: those of its config, of `evaluation`, and the groups."""
    plain: Any = OmegaConf.load(CONF / f"{config_name}.yaml")
    measured = (f"evaluation.{key}" for key in plain.get("evaluation") or ())
    return (*plain, *NAMED_ENTRIES, "bridge", *(path.name for path in CONF.iterdir()), *measured)


def explain_error(
    error: BaseException, config_name: str, overrides: Sequence[str], arguments: Sequence[str] = ()
) -> BaseException:
    """An error of Hydra during composition, as a `ConfigError` about the override that caused it, if one did.

    `arguments` is the whole command line, which may name a folder of configs.
    """
    if isinstance(error, OverrideParseException):
        return unreadable_override_error(error.override)
    if isinstance(error, HydraException | ValueError | TypeError) and not isinstance(error, ConfigError):
        with suppress(HydraException):  # something else is wrong with the overrides; `error` says what
            return unknown_override_error(config_name, overrides, arguments) or error
    return error


def unknown_override_error(
    config_name: str, overrides: Sequence[str], arguments: Sequence[str] = ()
) -> ConfigError | None:
    """An error about the first override of an unknown setting or option; None if all are known."""
    with initialized_hydra():
        loader: Any = GlobalHydra.instance().config_loader()
        list_options = loader.get_group_options
        folder = own_config_folder(arguments)
        if folder and not os.path.isdir(folder):
            return ConfigError("is not a folder", "check the path", "--config-dir", folder)
        search_path = loader.get_search_path()
        given = [f"file://{os.path.abspath(folder)}"] if folder else []
        for path in [*given, *own_search_path([*overrides, *arguments])]:
            search_path.prepend("command-line", path)
        loader.repository.initialize_sources(search_path)
        overrides = [word for word in overrides if not word.startswith("hydra.")]

        def selects_options(override: str) -> bool:
            group, _, value = override.lstrip("+").partition("=")
            return set(value.strip("[]").split(",")) <= set(list_options(group.split("@")[0]))

        # The options are selected in `base`, so that it has their keys.
        base = hydra.compose(config_name, list(filter(selects_options, overrides)))
        return unknown_key_error(overrides, base, list_options)


def own_config_folder(arguments: Sequence[str]) -> str | None:
    """The folder of the user's own configs that a command line names."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--config-dir", "-cd")
    return parser.parse_known_args(arguments)[0].config_dir


def own_search_path(words: Sequence[str]) -> list[str]:
    """The places in which the user's configs lie, from `hydra.searchpath=[pkg://my_package.conf]`."""
    of_job = HydraConfig.get().overrides.hydra if HydraConfig.initialized() else ()
    given = [word.partition("=")[2] for word in (*words, *of_job) if word.startswith("hydra.searchpath=")]
    return [path for path in re.split(r"[\[\],'\" ]+", ",".join(given)) if path]


def refuse_dropped_overrides(overrides: Sequence[str]) -> None:
    """Refuses overrides of which Hydra silently drops a part.

    If both `group=[b]` and `+group=a` are given, Hydra drops the second. From `data=[a,b]`, it drops one of
    the two options, because `data` is not in `MULTIPLE_CHOICE`.
    """
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    for key, value in given.items():
        group = key.removeprefix("+")
        if os.path.isdir(CONF / group):
            is_list = "," in value and value.startswith("[")
            is_valid = group in MULTIPLE_CHOICE or not is_list
            require(is_valid, "takes a single option", "choose one of them", key, value)
            if key != group and group in given:
                remedy = f"give all of them as one list, '{group}=[...]'"
                raise ConfigError(f"is lost next to {group}={given[group]}", remedy, key, value)


def user_message(error: BaseException) -> str:
    """The message of an error in one line, without the details that Hydra adds for its own debugging."""
    # The message of Hydra's error often names only the setting, and that of its cause the reason.
    errors = [error] if isinstance(error, OWN_ERRORS) or error.__cause__ is None else [error, error.__cause__]
    text = " ".join(HYDRA_DETAILS.split(str(part))[0] for part in errors).split("full_key:")[0]
    return terminal_text(" ".join(text.replace("Available options in", "- available in").split()))
