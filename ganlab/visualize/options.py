"""The options of a view of a trained game, as in conf/sample.yaml.

This module does not import torch, so that wrong options are refused at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ganlab.config.compose import compose
from ganlab.config.setting_types import validated_settings
from ganlab.core.errors import prefixing_all_keys, require
from ganlab.core.validation import is_integer

if TYPE_CHECKING:
    from ganlab.game import Game

SAMPLING = {"n", "seed", "class", "condition", "checkpoint", "part", "root"}
# The options that each view uses, in addition to `run_dir`, `output` and `trust`.
USED_OPTIONS = {
    "grid": SAMPLING | {"format"},
    "neighbours": SAMPLING | {"columns", "space"},
    "reconstructions": {"n", "checkpoint", "columns", "part", "root"},
    "interpolate": SAMPLING | {"columns", "path"},
    "arithmetic": SAMPLING | {"plus", "minus"},
    "animate": {"part"},
}
ALL_OPTIONS = set().union(*USED_OPTIONS.values())
COMMAND_ONLY = {"checkpoint", "condition", "format", "root"}  # not for views at the end of a run
MAX_PIXELS = {"grid": 10**8, "files": 10**11}  # the largest number of pixels of all images, by `format`


def check_options(cfg: DictConfig, given: Mapping[str, Any]) -> None:
    """Refuses given options that the view does not use, and indices of samples that are not in the grid."""
    unused = ALL_OPTIONS - USED_OPTIONS[cfg.what]
    for key, value in given.items():
        require(key not in unused, f"has no effect with what={cfg.what}", "remove it", key, value)
    for key in ("plus", "minus"):
        reason = f"must be indices of samples in a grid of n={cfg.n}, from 0 to {cfg.n - 1}"
        require(all(i < cfg.n for i in cfg[key]), reason, key=key, value=[*cfg[key]])


def parse_views(views: str | Sequence[Any], *, of_images: bool) -> list[DictConfig]:
    """The options of each view in the setting `views` of a run: a name, or a list of names and mappings.

    Raises:
        ConfigError: a view does not exist, does not use one of its options, or needs images.
    """
    parsed = []
    for i, view in enumerate([views] if isinstance(views, str) else views):
        given = {"what": view} if isinstance(view, str) else {str(key): view[key] for key in view}
        cfg = compose(config_name="sample")
        with prefixing_all_keys(f"views[{i}]", separator="."):
            for key, value in given.items():
                is_option = key in ("what", *ALL_OPTIONS - COMMAND_ONLY)
                require(is_option, "has no effect at the end of a run", "remove it", key, value)
                cfg[key] = value
            check_options(validated_settings(cfg), given)
            fits = of_images or cfg.what in ("grid", "animate")
            require(fits, "is for images, but this data set has none", "remove this view", "what", cfg.what)
        parsed.append(cfg)
    return parsed


def check_size(cfg: DictConfig, game: Game) -> None:
    """Refuses more images than fit into memory, and views of latents of a generator that has none."""
    from ganlab.networks.priors import is_round  # imports torch, which the game has done

    has_latents = game.generator.latent_dim > 0 or cfg.what not in ("interpolate", "arithmetic")
    require(has_latents, "the generator has no latents", "choose what=grid", "what", cfg.what)
    prior = game.presented("generator").prior
    reason = f"great circles leave the latents of {type(prior).__name__}"
    require(cfg.path != "slerp" or is_round(prior), reason, "choose path=lerp", "path", cfg.path)
    # A grid enlarges images to 32 pixels a side.
    pixels = max(cfg.n, cfg.columns) * prod(max(side, 32) for side in game.shape[-2:])
    fits = cfg.what == "animate" or pixels <= MAX_PIXELS[cfg.format]
    reason = f"samples of shape {[*game.shape]} do not fit into memory, with columns={cfg.columns}"
    require(fits, reason, "lower n or columns", "n", cfg.n)


def class_number(parsed: Any, typed: str | None, names: Sequence[str], num_classes: int | None) -> int | None:
    """The number of a class that the user gave by its name or number; None: all classes in turn.

    A text that is both a name and a number is taken as the name.

    Args:
        parsed: the class as Hydra parsed it.
        typed: the class as the user typed it; None: in a config, not in a command line.
        names: the names of the classes, if they have any.
        num_classes: the number of classes; None if the generator has no classes.

    Raises:
        ConfigError: there is no such class.
    """
    if num_classes is None:
        remedy = "remove it, or train the game with trick=label_conditioning"
        require(parsed is None, "the generator has no classes", remedy, "class", parsed)
    if num_classes is None or (parsed is None and typed is None):
        return None
    # Hydra parses a class that is named "7" as a number, and one that is named "null" as None.
    name = typed if typed in names else str(parsed)
    number = names.index(name) if name in names else parsed
    exists = number is None or (is_integer(number) and 0 <= number < num_classes)
    by_name = f", or one of {', '.join(names)}" if names else ""
    reason = f"must be a number from 0 to {num_classes - 1}{by_name}"
    require(exists, reason, key="class", value=typed or number)
    return number


def check_output(path: Path, cfg: DictConfig) -> None:
    """Refuses an output that does not suit the view, or that would be mixed with other files."""
    ending = ".gif" if cfg.what == "animate" else ".png"
    suffix = path.suffix.lower()
    if cfg.format == "files":
        wanted = "a new or empty folder, not named like an image"
        is_free = not any(path.iterdir()) if path.is_dir() else not path.exists()
        fits = is_free and suffix not in (".gif", ".jpeg", ".jpg", ".png")
    else:
        wanted = f"a file that ends in {ending}, and not a sample grid of the run"
        is_grid_of_run = re.search(r"samples/(\w+_)?\d+\.png$", path.as_posix())
        fits = suffix == ending and not path.is_dir() and not is_grid_of_run
    require(fits, f"must be {wanted}", "choose another", "output", path)


def file_name(cfg: DictConfig, step: int, names: Sequence[str]) -> str:
    """A file name that describes the view, and is not that of a sample grid of the run."""
    label = cfg["class"]
    stem = f"{step:07d}_n{cfg.n}_seed{cfg.seed}" + (f"_{cfg.part}" if cfg.part else "")
    if cfg.condition is not None:
        stem += f"_{slug(cfg.condition)}"
    if label is not None:
        stem += f"_class{label}"
        if names and names[label] != str(label):
            stem += f"_{slug(names[label])}"
    if cfg.what == "grid":
        return stem if cfg.format == "files" else f"{stem}.png"
    training = f"training_{cfg.part}.gif" if cfg.part else "training.gif"
    return training if cfg.what == "animate" else f"{stem}_{view_name(cfg)}.png"


def slug(name: str) -> str:
    """At most 64 characters of a class name, with `_` in place of those that may not be in a file name."""
    return re.sub(r"[^\w.-]+", "_", name)[:64]


def view_name(cfg: DictConfig) -> str:
    """The name of a view, with the suffix `_features` if it compares features instead of pixels."""
    return f"{cfg.what}_features" if cfg.space == "features" else str(cfg.what)
