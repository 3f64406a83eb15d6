"""Words of a command line: as text where text is wanted, and each a key that there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ganlab.errors import Refused
from ganlab.kinds import KINDS, parameters

PARSER = OverridesParser.create()
# Below these one may add what is of a kind with the rest, or gives itself a class.
OPEN = ("trick", "metric", "logger", "stages", "clip", "initial")
PLAYERS = ("generator", "discriminator", "encoder")
BUDGET = ["steps", "images"]
ELSEWHERE = {  # what other programs call it
    **dict.fromkeys(("epochs", "epoch", "iterations", "iters", "max_steps", "max_epochs", "kimg"), BUDGET),
    **dict.fromkeys(("learning_rate", "rate"), [f"optimizer.{player}.lr" for player in PLAYERS[:2]]),
    **dict.fromkeys(("device", "gpu", "accelerator"), ["trainer.accelerator"]),
    **dict.fromkeys(("gpus", "world_size", "processes"), ["trainer.devices"]),
    **dict.fromkeys(("out", "outdir", "output", "output_dir", "logdir", "save_dir"), ["run_dir", "output"]),
    **dict.fromkeys(("workers", "n_cpu"), ["data.num_workers"]),
    **dict.fromkeys(("nz", "z_dim", "latent"), ["model.generator.latent_dim"]),
    **dict.fromkeys(("num", "num_samples", "samples"), ["n", "evaluation.n"]),
    **dict.fromkeys(
        ("loss", "dataset", "arch", "network", "optim"), ["objective", "data", "model", "optimizer"]
    ),
}


def typed(argument: str, sweeps: bool = False) -> str:
    """An override as Hydra is to read it, with quotes where its grammar would not read a text.

    These are words that look like numbers where a text is wanted, and what the grammar does not know, such
    as letters beyond ASCII.

    Raises:
        Refused: it is no override at all.
    """
    key, equals, text = argument.partition("=")
    name = key.lstrip("+")
    if key and not equals or key.startswith(("-", "~", "hydra")):
        return argument
    if KINDS.get(name) in (list[str], str | list[str]) and text[:1] + text[-1:] == "[]":
        return f"{key}=[{listed(text[1:-1])}]"
    if KINDS.get(name) == str | None:
        return f"{key}={listed(text) if sweeps and ',' in text else text if is_text(text) else quoted(text)}"
    try:
        PARSER.parse_override(argument)
    except HydraException:
        argument, given = f"{key}={quoted(text)}", argument
        refuse_unreadable(given, argument)
    return argument


def listed(text: str) -> str:
    """Words between commas, each a text; where any is quoted or a list itself, all as they are."""
    words = [word.strip() for word in text.split(",")]
    return text if set(text) & set("[](){}'\"") else ",".join(w if is_text(w) else quoted(w) for w in words)


def is_text(word: str) -> bool:
    """Whether Hydra would take it for a text, or for null."""
    try:
        override = PARSER.parse_override(f"x={word}")
    except HydraException:
        return False
    return not override.is_sweep_override() and isinstance(override.value(), str | None)


def quoted(text: str) -> str:
    return QuotedString(text, Quote.double).with_quotes()


def refuse_unreadable(given: str, override: str = "") -> None:
    """Refuses what is no override, not even with quotes."""
    try:
        key = PARSER.parse_override(override or given).key_or_group
    except HydraException:
        key = ""
    if not key:
        raise Refused(f"{given} cannot be read: settings are given as key=value")


def refuse_unknown(
    overrides: Sequence[str], base: DictConfig, options: Callable[[str], list[str]], null: bool
) -> None:
    """Refuses the first override that no setting and no option of a group goes by, with the nearest.

    Args:
        overrides: of the command line; what does not parse is passed over.
        base: the config of the groups alone.
        options: those of a group; of what is no group, none.
        null: whether it may stand for an option.
    """
    parsed = PARSER.parse_overrides(list(overrides))
    added = [override.key_or_group for override in parsed if override.is_add() or override.is_force_add()]
    for override in parsed:
        key = override.key_or_group
        if (known := options(key)) and not override.is_delete():
            refuse_option(override, known, null)
        elif not known and not key.startswith("hydra") and not exists(base, key):
            if key in added and opens(base, key):
                continue
            if any(key.startswith(".".join(other.split(".")[:2])) for other in added if key not in added):
                continue
            raise Refused(f"{override.input_line}: no setting is called {key}; {nearest(key, base, options)}")


def refuse_option(override: Override, known: list[str], null: bool) -> None:
    value = override.value() if not override.is_sweep_override() else list(override.sweep_string_iterator())
    for name in value if isinstance(value, list) else [value]:
        if name is None and not null:
            raise Refused(f"{override.input_line}: null is no option: leave it out, or choose one")
        if name is not None and str(name) not in known:
            close = get_close_matches(str(name), known, cutoff=0.5)
            near = f"the nearest: {', '.join(close)}; " if close else ""
            raise Refused(
                f"{override.input_line}: no {override.key_or_group} is called so; {near}"
                f"there are {', '.join(known)}"
            )


def exists(base: DictConfig, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(base, parent) if parent else base
    return isinstance(node, DictConfig) and last in node


def opens(base: DictConfig, key: str) -> bool:
    """Whether something looks at an added key: a constructor above it, or the check of its kind."""
    parts = key.split(".")
    if len(parts) > 1 and (parts[0] in OPEN or (parts[0] == "model" and parts[1] in PLAYERS)):
        return True
    above = (OmegaConf.select(base, ".".join(parts[:i])) for i in range(1, len(parts)))
    return any(isinstance(node, DictConfig) and "_target_" in node for node in above)


def nearest(key: str, base: DictConfig, options: Callable[[str], list[str]]) -> str:
    """The settings that one may have meant."""
    parent, _, last = key.rpartition(".")
    first, *rest = key.split(".")
    above = OmegaConf.select(base, parent) if parent else None
    if isinstance(above, DictConfig) and "_target_" in above and last in parameters(above._target_)[0]:
        return f"{above._target_} takes it where it is added: +{key}=..."
    if rest and rest[0] in options(first) and not exists(base, f"{first}.{rest[0]}"):
        return f"it is one of {first}={rest[0]}: add that first"
    keys = list(leaves(base))
    siblings = [other for other in keys if parent and other.rpartition(".")[0] == parent]
    found = [
        *(other for other in ELSEWHERE.get(last, []) if other in keys or options(other)),
        *(other for other in keys if other.rpartition(".")[2] == last),
        *(get_close_matches(key, siblings, cutoff=0.6) or siblings[:4]),
        *get_close_matches(key, keys, cutoff=0.7),
    ]
    found.sort(key=lambda other: other.split(".")[0] != first)
    near = [one for one in dict.fromkeys(found) if not any(o.startswith(f"{one}.") for o in found)][:4]
    return f"the nearest: {', '.join(near)}" if near else "--help shows those that there are"


def leaves(node: DictConfig, name: str = "") -> Iterator[str]:
    for key in map(str, node):
        if not (key.startswith("_") or name + key == "job"):
            yield name + key
            value = None if OmegaConf.is_interpolation(node, key) else node[key]
            if isinstance(value, DictConfig):
                yield from leaves(value, f"{name}{key}.")
