"""Overrides of a command line: quotes for strings, and errors that name the nearest known setting."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ganlab.config.setting_types import NAMED_ENTRIES, SETTING_TYPES, constructor_parameters
from ganlab.core.errors import UNSET, ConfigError

PARSER = OverridesParser.create()
# These mappings take entries of any name, so a key in one of them need not exist yet.
OPEN_GROUPS = {
    "trick", "metric", "logger", "callback", "clip", "initial", "model", "optimizer", *NAMED_ENTRIES
}  # fmt: skip
SYNONYMS = {  # names of settings in other programs, and the settings of ganlab that the user may mean
    **dict.fromkeys(("epochs", "epoch", "iterations", "iters", "max_steps", "kimg"), ("steps", "images")),
    **dict.fromkeys(("learning_rate", "rate"), ("optimizer.generator.lr", "optimizer.discriminator.lr")),
    **dict.fromkeys(("device", "gpu", "gpus"), ("trainer.accelerator", "trainer.devices")),
    **dict.fromkeys(("output", "outdir", "output_dir", "logdir"), ("run_dir", "output")),
    **dict.fromkeys(("num", "num_samples", "samples"), ("n", "evaluation.n")),
}


def quote_override(argument: str, is_sweep: bool = False) -> str:
    """A word of the command line for Hydra, with quotes around its value if Hydra would misread the value.

    If the setting takes a string, a value that looks like a number is quoted, because Hydra would read it as
    a number. A string that Hydra's grammar cannot read is quoted too, such as one with letters beyond ASCII.
    Words without "=" and flags of Hydra stay as they are; Hydra refuses invalid ones. In a sweep, a string
    may be a list of alternatives, separated by commas. A mapping such as stages={low: {...}} gets the "+"
    that Hydra asks for, since its names are the user's own.

    Raises:
        ConfigError: the word is "--key=value", or has an "=" and is still not an override.
    """
    key, equals, text = argument.partition("=")
    if key in NAMED_ENTRIES and text.startswith("{"):
        key, argument = f"+{key}", f"+{argument}"
    is_hydra_flag = key.startswith(("--config", "--package", "--hydra", "--exp"))
    if key.startswith("--") and equals and not is_hydra_flag:
        raise ConfigError("starts with dashes", f"write {argument.lstrip('-')}", key, text)
    if (key and not equals) or key.startswith(("-", "~", "hydra")):
        return argument
    annotation = SETTING_TYPES.get(key.lstrip("+"))
    if annotation in (list[str], str | list[str]) and text.startswith("[") and text.endswith("]"):
        # Round brackets are part of a word in a list, so they are not among `brackets`. In a sweep they may
        # be those of a call, as in range(3).
        return f"{key}=[{quote_list(text[1:-1], brackets='[]{}')}]"
    if annotation in (str | None, str | list[str]):  # no setting is annotated with `str` alone
        return f"{key}={quote_list(text) if is_sweep and ',' in text else quote_if_needed(text)}"
    for override in (argument, f"{key}={quote(text)}"):  # the first that Hydra can read, if any
        with suppress(HydraException):
            if PARSER.parse_override(override).key_or_group:  # empty for "=5", which Hydra reads as well
                return override
    raise unreadable_override_error(argument)


def unreadable_override_error(argument: str) -> ConfigError:
    """An error about a word of the command line that is not an override."""
    return ConfigError("cannot be read", "write key=value", key=argument)


def quote_list(text: str, brackets: str = "[](){}") -> str:
    """Words separated by commas, each quoted if needed; unchanged if the text has quotes or brackets."""
    if set(text) & {*brackets, "'", '"'}:
        return text
    return ",".join(quote_if_needed(word.strip()) for word in text.split(","))


def quote_if_needed(text: str) -> str:
    """A text, quoted unless Hydra reads it as a string or as null."""
    with suppress(HydraException):
        override = PARSER.parse_override(f"x={text}")
        if not override.is_sweep_override() and isinstance(override.value(), str | None):
            return text
    return quote(text)


def quote(text: str) -> str:
    """A string in double quotes for Hydra, with escapes."""
    return QuotedString(text, Quote.double).with_quotes()


def shell_override(key: str, text: object) -> str:
    """`key=text` to paste into a shell, quoted for the shell and, if needed, for Hydra."""
    with suppress(HydraException):
        if PARSER.parse_override(f"{key}={text}").value() == str(text):
            return shlex.quote(f"{key}={text}")
    return shlex.quote(f"{key}={quote(str(text))}")


def shell_command(name: str) -> str:
    """A command of ganlab in the form in which this process was started, as `ganlab sample`."""
    is_script = "ganlab" in map(os.path.basename, sys.orig_argv[:2])  # after Python, unless it is in `-m`
    return f"ganlab {name}" if is_script else f"python -m ganlab.{name}"


def unknown_key_error(
    overrides: Sequence[str], base: DictConfig, list_options: Callable[[str], list[str]] = lambda group: []
) -> ConfigError | None:
    """An error about the first override of an unknown setting or option; None if all are known.

    Args:
        base: the config after the choices of group options, before all other overrides.
        list_options: returns the names of the options of a group; [] if there is no such group.
    """
    parsed = PARSER.parse_overrides(list(overrides))
    added = [override.key_or_group for override in parsed if override.is_add() or override.is_force_add()]
    added_prefixes = tuple(".".join(key.split(".")[:2]) for key in added)
    for override in parsed:
        key = override.key_or_group
        if known := list_options(key):
            if error := unknown_option_error(override, known):
                return error
            continue
        # An added key (+key=value) may be new if its mapping accepts it. Any other key may be new below an
        # added one: +trick.mine._target_=... adds trick.mine, so trick.mine.gamma=1 needs no plus.
        may_be_new = accepts_key(base, key) if key in added else key.startswith(added_prefixes)
        if not (may_be_new or key.startswith("hydra") or has_key(base, key)):
            remedy = remedy_for_unknown(key, base, list_options)
            return ConfigError("there is no such setting", remedy, key, value_text(override))
    return None


def unknown_option_error(override: Override, known: list[str]) -> ConfigError | None:
    """An error if the override chooses an option that a group does not have, and else None."""
    group = override.key_or_group
    value = list(override.sweep_string_iterator()) if override.is_sweep_override() else override.value()
    chosen = map(str, value if isinstance(value, list) else [value])
    unknown = next((name for name in chosen if name not in known), None)
    if unknown is None or override.is_delete():
        return None
    nearest = get_close_matches(unknown, known, n=1, cutoff=0.5)
    remedy = "choose " + ", or ".join([*nearest, f"one of {', '.join(known)}"])
    return ConfigError(f"there is no such {group}", remedy, group, value_text(override))


def value_text(override: Override) -> Any:
    """The value of an override as it was typed."""
    _, equals, value = str(override.input_line).partition("=")
    return value if equals else UNSET


def has_key(base: DictConfig, key: str) -> bool:
    """Whether a config has a dotted key, even if its value is missing or null."""
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(base, parent) if parent else base
    return isinstance(node, DictConfig) and last in node


def accepts_key(base: DictConfig, key: str) -> bool:
    """Whether a new key may have an effect: its mapping may have any keys, or a node above it has a class."""
    parts = key.split(".")
    ancestors = (".".join(parts[:i]) for i in range(1, len(parts)))
    names = "_target_", "borrowed"  # what a node has that builds an object or borrows a network
    is_open = len(parts) > 1 and parts[0] in OPEN_GROUPS and parts[0] in base
    return is_open or any(has_key(base, f"{node}.{name}") for node in ancestors for name in names)


def remedy_for_unknown(key: str, base: DictConfig, list_options: Callable[[str], list[str]]) -> str:
    """A remedy for an unknown key, which names the settings that the user may have meant."""
    parent, _, last = key.rpartition(".")
    first, *rest = key.split(".")
    target = OmegaConf.select(base, f"{parent}._target_")
    if target is not None and last in constructor_parameters(target).types:
        return f"add it to {target} with +{key}=..."
    if rest and rest[0] in list_options(first) and not has_key(base, f"{first}.{rest[0]}"):
        return f"add {first}={rest[0]} first"
    keys = list(dotted_keys(OmegaConf.to_container(base)))
    is_entry = first in NAMED_ENTRIES and {*rest[1:2]} <= {*NAMED_ENTRIES[first]}
    is_entry |= first in ("clip", "initial") and len(rest) == 1  # of a player or network of one's own
    if rest and first in base and is_entry:
        similar = "".join(f"try {other}, or " for other in get_close_matches(key, keys, n=1, cutoff=0.93))
        return f"{similar}add it as +{key}"
    siblings = [other for other in keys if parent and other.rpartition(".")[0] == parent]
    candidates = [
        *(other for other in SYNONYMS.get(last, ()) if other in keys),
        *(other for other in keys if other.rpartition(".")[2] == last),  # in different mappings
        *(get_close_matches(key, siblings) or siblings[:4]),
        *get_close_matches(key, keys, cutoff=0.7),
    ]
    candidates.sort(key=lambda other: other.split(".")[0] != first)  # candidates in the same group first
    # A mapping is not suggested in addition to its settings.
    parents = {name for name in candidates if any(other.startswith(f"{name}.") for other in candidates)}
    near = [name for name in dict.fromkeys(candidates) if name not in parents][:4]
    return f"try {', '.join(near)}" if near else "list all settings with --help"


def dotted_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """The keys of a mapping and of all mappings in it, such as "a" and "a.b"."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}"
        yield from dotted_keys(value, f"{prefix}{key}.")
