"""Settings of a view of a trained game, as in conf/sample.yaml."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ganlab.config.compose import compose
from ganlab.config.kinds import check_kinds
from ganlab.core.errors import ConfigError
from ganlab.core.validation import is_whole_number

if TYPE_CHECKING:
    from ganlab.game import Game

ELSEWHERE = {
    "checkpoint",
    "format",
    "root",
}  # settings of ganlab.sample that the views at the end of a run lack
SAMPLED = {"n", "seed", "class", "checkpoint"}
# Which settings each view looks at, beside run_dir, output and trust.
USES: dict[str, set[str]] = {
    "grid": SAMPLED | {"format"},
    "neighbours": SAMPLED | {"columns", "root", "space"},
    "interpolate": SAMPLED | {"columns", "path"},
    "arithmetic": SAMPLED | {"plus", "minus"},
    "animate": set(),
}
LISTED = 20  # names of classes, at most, in a message


def check(cfg: DictConfig, given: Collection[str]) -> None:
    """Refuses values out of their ranges, and given ones that this view does not look at."""
    for key in sorted(set(given).intersection(key for keys in USES.values() for key in keys)):
        if key not in USES[cfg.what]:
            raise ConfigError(f"{key} has no effect with what={cfg.what}: remove it")
    if cfg.what == "arithmetic":
        for name in ("plus", "minus"):
            if not all(place < cfg.n for place in cfg[name]):
                raise ConfigError(
                    f"{name}={cfg[name]} must be places in a grid of n={cfg.n}, from 0 to {cfg.n - 1}"
                )
        if not cfg.plus:
            raise ConfigError("plus=[] adds nothing: give places of samples in the grid of this n and seed")


def fit(cfg: DictConfig, game: Game, names: Sequence[str], typed: str | None = None) -> None:
    """Makes a number of the class that is asked for; what is both the name of one and a number is the name.

    Args:
        names: of the classes; empty: they have none.
        typed: the class as it was written, of which Hydra may have made a number.

    Raises:
        ConfigError: there is no such class, or more would be made than one can look at.
    """
    label, num_classes = cfg["class"], game.generator.num_classes
    made, size = max(cfg.n, cfg.columns), prod(max(side, 32) for side in game.shape[-2:])
    if cfg.what != "animate" and made * size > (10**11 if cfg.format == "files" else 10**8):
        raise ConfigError(f"n={cfg.n}, columns={cfg.columns} of {list(game.shape)} are too large: lower them")
    if num_classes is not None and (label, typed) != (None, None):
        label = next((names.index(text) for text in (typed, str(label)) if text in names), label)
        if label is not None and not (is_whole_number(label) and 0 <= label < num_classes):
            more = f", or be one of {', '.join(names[:LISTED])}" if names else ""
            more += " ..." * (len(names) > LISTED)
            raise ConfigError(f"class={typed or label} must lie between 0 and {num_classes - 1}{more}")
    game.labels(1, label)
    cfg["class"] = label


def refuse_output(place: Path, cfg: DictConfig) -> None:
    """Refuses to write over what is of another kind, or among other files."""
    kind, ending = place.suffix.lower(), ".gif" if cfg.what == "animate" else ".png"
    if cfg.what == "grid" and cfg.format == "files":
        wanted = "a new or an empty folder, and not be named like a picture"
        held = any(place.iterdir()) if place.is_dir() else place.exists()
        fits = not held and kind not in (".gif", ".jpeg", ".jpg", ".png")
    else:
        wanted = f"a file that ends in {ending}, and no picture of training"
        fits = kind == ending and not (place.is_dir() or re.search(r"samples/\d+\.png$", place.as_posix()))
    if not fits:
        raise ConfigError(f"output={place} must be {wanted}: choose another")


def file_name(cfg: DictConfig, step: int, names: Sequence[str]) -> str:
    """Says what is in it; never that of a picture made in training."""
    label = cfg["class"]
    asked = f"{step:07d}_n{cfg.n}_seed{cfg.seed}" + ("" if label is None else f"_class{label}")
    if label is not None and names and names[label] != str(label):
        asked += f"_{file_part(names[label])}"
    if cfg.what == "grid":
        return f"{asked}.png" if cfg.format == "grid" else asked
    return "training.gif" if cfg.what == "animate" else f"{asked}_{called(cfg)}.png"


def file_part(name: str) -> str:
    """The name of a class as a part of the name of a file."""
    return re.sub(r"[^\w.-]+", "_", name)[:64]


def called(cfg: DictConfig) -> str:
    """The name of a view, which says so where it looks through an extractor."""
    return f"{cfg.what}_features" if through_extractor(cfg) else str(cfg.what)


def through_extractor(cfg: DictConfig) -> bool:
    """Whether a view looks through the run's extractor."""
    return "space" in USES[cfg.what] and bool(cfg.space == "features")


def asked(views: str | Sequence[Any], of_images: bool) -> list[DictConfig]:
    """The settings of views by their names, or by mappings with `what` and more.

    Raises:
        ConfigError: there is no such view, one has settings that it does not look at, or shows images alone.
    """
    found = []
    for view in [views] if isinstance(views, str) else views:
        given = {"what": view} if isinstance(view, str) else {str(key): view[key] for key in view}
        cfg = compose(config_name="sample")
        for key, value in given.items():
            if key not in {"what", *(key for keys in USES.values() for key in keys)} - ELSEWHERE:
                raise ConfigError(f"views: {key}={value} has no effect at the end of a run: remove it")
            cfg[key] = value
        check(check_kinds(cfg), given)
        if not of_images and cfg.what not in ("grid", "animate"):
            raise ConfigError(f"views: {cfg.what} shows images, and these data are none; leave it out")
        found.append(cfg)
    return found
