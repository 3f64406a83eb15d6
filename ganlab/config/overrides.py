"""Words of a command line: as text where text is wanted, and each a key that there is."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ganlab.config.kinds import KINDS, constructor_kinds
from ganlab.core.errors import ConfigError

PARSER = OverridesParser.create()
# Below these one may add: something looks at all that lies there.
OPEN = ("trick.", "metric.", "logger.", "stages.", "clip.", "initial.", "model.encoder")
# What other programs call it.
BUDGET, RATES = ("steps", "images"), ("optimizer.generator.lr", "optimizer.discriminator.lr")
ELSEWHERE = dict.fromkeys(("epochs", "epoch", "iterations", "iters", "max_steps", "kimg"), BUDGET) | {
    **dict.fromkeys(("learning_rate", "rate"), RATES),
    **dict.fromkeys(("device", "gpu", "gpus"), ("trainer.accelerator", "trainer.devices")),
    **dict.fromkeys(("output", "outdir", "output_dir", "logdir"), ("run_dir", "output")),
    **dict.fromkeys(("num", "num_samples", "samples"), ("n", "evaluation.n")),
}


def quote_override(argument: str, sweeps: bool = False) -> str:
    """An override as Hydra is to read it, with quotes where its grammar would not read a text.

    These are words that look like numbers where a text is wanted, and what the grammar does not know, such
    as letters beyond ASCII.

    Raises:
        ConfigError: it is no override at all.
    """
    key, equals, text = argument.partition("=")
    name = key.lstrip("+")
    if key.startswith("--") and equals and not key.startswith(("--config", "--package", "--hydra", "--exp")):
        raise ConfigError(f"{argument}: settings are given without dashes, {argument.lstrip('-')}")
    if key and not equals or key.startswith(("-", "~", "hydra")):
        return argument
    if KINDS.get(name) in (list[str], str | list[str]) and text[:1] + text[-1:] == "[]":
        return f"{key}=[{listed(text[1:-1], '[]{}')}]"
    if KINDS.get(name) in (str | None, str | list[str]):
        return f"{key}={listed(text) if sweeps and ',' in text else text if is_text(text) else quote(text)}"
    for override in (argument, f"{key}={quote(text)}"):
        with suppress(HydraException):
            if PARSER.parse_override(override).key_or_group:
                return override
    raise ConfigError(f"{argument} cannot be read: settings are given as key=value")


def listed(text: str, brackets: str = "[](){}") -> str:
    """Words between commas, each a text; where any is quoted or has brackets, all as they are."""
    if set(text) & {*brackets, "'", '"'}:
        return text
    words = (word.strip() for word in text.split(","))
    return ",".join(word if is_text(word) else quote(word) for word in words)


def is_text(word: str) -> bool:
    """Whether Hydra would take it for a text, or for null."""
    try:
        override = PARSER.parse_override(f"x={word}")
    except HydraException:
        return False
    return not override.is_sweep_override() and isinstance(override.value(), str | None)


def quote(text: str) -> str:
    return QuotedString(text, Quote.double).with_quotes()


def refuse_unknown_keys(
    overrides: Sequence[str], base: DictConfig, options: Callable[[str], list[str]]
) -> None:
    """Refuses the first override that no setting and no option of a group goes by, with the nearest.

    Args:
        overrides: of the command line.
        base: the config of the groups alone.
        options: those of a group; of what is no group, none.
    """
    parsed = PARSER.parse_overrides(list(overrides))
    added = [override.key_or_group for override in parsed if override.is_add() or override.is_force_add()]
    given = tuple(".".join(key.split(".")[:2]) for key in added)  # what is changed in these need not be there
    for override in parsed:
        key = override.key_or_group
        if known := options(key):
            refuse_option(override, known)
            continue
        known_below = opens(base, key) if key in added else key.startswith(given)
        if not (known_below or key.startswith("hydra") or has_key(base, key)):
            near = nearest(key, base, options)
            raise ConfigError(f"{override.input_line}: no setting is called {key}; {near}")


def refuse_option(override: Override, known: list[str]) -> None:
    value = list(override.sweep_string_iterator()) if override.is_sweep_override() else override.value()
    for name in map(str, value if isinstance(value, list) else [value]):
        if name not in known and not override.is_delete():
            close = [f"the nearest: {near};" for near in get_close_matches(name, known, cutoff=0.5)[:1]]
            there = " ".join([*close, f"there are {', '.join(known)}"])
            raise ConfigError(f"{override.input_line}: no {override.key_or_group} is called so; {there}")


def has_key(base: DictConfig, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(base, parent) if parent else base
    return isinstance(node, DictConfig) and last in node


def opens(base: DictConfig, key: str) -> bool:
    """Whether something looks at an added key: a constructor above it, or the check of its kind."""
    parts = key.split(".")
    return key.startswith(OPEN) or any(
        has_key(base, ".".join([*parts[:i], "_target_"])) for i in range(1, len(parts))
    )


def nearest(key: str, base: DictConfig, options: Callable[[str], list[str]]) -> str:
    """The settings that one may have meant."""
    parent, _, last = key.rpartition(".")
    first, *rest = key.split(".")
    target = OmegaConf.select(base, f"{parent}._target_")
    if target is not None and last in constructor_kinds(target)[0]:
        return f"{target} takes it where it is added: +{key}=..."
    if rest and rest[0] in options(first) and not has_key(base, f"{first}.{rest[0]}"):
        return f"it is one of {first}={rest[0]}: add that first"
    keys = list(leaves(OmegaConf.to_container(base)))
    siblings = [other for other in keys if parent and other.rpartition(".")[0] == parent]
    found = [
        *(other for other in ELSEWHERE.get(last, ()) if other in keys),
        *(other for other in keys if other.rpartition(".")[2] == last),
        *(get_close_matches(key, siblings) or siblings[:4]),
        *get_close_matches(key, keys, cutoff=0.7),
    ]
    found.sort(key=lambda other: other.split(".")[0] != first)
    near = [one for one in dict.fromkeys(found) if not any(o.startswith(f"{one}.") for o in found)][:4]
    return f"the nearest: {', '.join(near)}" if near else "--help shows those that there are"


def leaves(node: Any, name: str = "") -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{name}{key}"
        yield from leaves(value, f"{name}{key}.")


def shell_override(key: str, text: object) -> str:
    """`key=text` to paste into a shell, quoted for it and, where it would read another value, for Hydra."""
    with suppress(HydraException):
        if PARSER.parse_override(f"{key}={text}").value() == str(text):
            return shlex.quote(f"{key}={text}")
    return shlex.quote(f"{key}={quote(str(text))}")
