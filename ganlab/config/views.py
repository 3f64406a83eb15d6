"""What a view of a trained game shows: its options, as in conf/sample.yaml, and its scene.

This module does not import torch, so that wrong options are refused at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig

from ganlab.config.compose import compose
from ganlab.config.setting_types import to_plain, validated_settings
from ganlab.core.errors import prefixing_all_keys, require
from ganlab.core.validation import ValueRange, is_integer

if TYPE_CHECKING:
    from ganlab.config.run_directory import RunDirectory
    from ganlab.data.base import Data
    from ganlab.game import Game
    from ganlab.metrics.features import CachedExtractor

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


class ViewOptions(NamedTuple):
    """The options of a view; conf/sample.yaml explains them.

    Attributes:
        label: the option `class`; a class as it was given, and for a view its number; None: all in turn.
    """

    what: str
    n: int
    seed: int
    label: Any
    part: str | None
    condition: str | None
    format: str
    columns: int
    space: str
    path: str | None
    plus: Sequence[int]
    minus: Sequence[int]


def view_options(cfg: DictConfig) -> ViewOptions:
    """The options of a config that was composed from conf/sample.yaml."""
    plain = {name: to_plain(cfg[name]) for name in ViewOptions._fields if name != "label"}
    return ViewOptions(**plain, label=cfg["class"])


class Scene:
    """What views show besides the game.

    Args:
        cfg: the config of the run.
        run: the directory of the run.
        data: the data of the run; None: a view that does not need them.

    Attributes:
        value_range: the range of the images; None: they have none.
        class_names: the names of the classes; empty if they have none.
        pictures: the folder of the pictures that the run wrote.
        main_part: the name of the part whose pictures bear no name; None: the game has no parts.
        load_extractor: returns the extractor of the run; None: it has none.
    """

    def __init__(self, cfg: DictConfig, run: RunDirectory, data: Data | None):
        self.pictures, self.data = run.samples, data
        names = cfg.get("class_names") if data is None else data.class_names
        self.class_names: Sequence[str] = [*(names or ())]
        self.value_range: ValueRange = cfg.data.get("range") if data is None else data.value_range
        self.main_part = next(iter(cfg.get("games") or ()), None)
        has_extractor = cfg.get("extractor") is not None
        self.load_extractor = partial(load_extractor, cfg.extractor) if has_extractor else None

    def data_of(self, part: str | None) -> Data:
        """The data of a part of the game, for views that need them."""
        assert self.data is not None
        return self.data.of_part(part)


def load_extractor(node: DictConfig) -> CachedExtractor:
    """The extractor of a run, built from its node of the config."""
    from ganlab.config.build import instantiate
    from ganlab.metrics.features import shared_extractor

    return shared_extractor(instantiate(node))


def check_options(options: ViewOptions, given: Mapping[str, Any]) -> None:
    """Refuses given options that the view does not use, and indices of samples that are not in the grid."""
    unused = ALL_OPTIONS - USED_OPTIONS[options.what]
    for key, value in given.items():
        require(key not in unused, f"has no effect with what={options.what}", "remove it", key, value)
    for key in ("plus", "minus"):
        reason = f"must be indices of samples in a grid of n={options.n}, from 0 to {options.n - 1}"
        indices = getattr(options, key)
        require(all(i < options.n for i in indices), reason, key=key, value=[*indices])


def parse_views(views: str | Sequence[Any], *, of_images: bool) -> list[ViewOptions]:
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
            options = view_options(validated_settings(cfg))
            check_options(options, given)
            fits = of_images or options.what in ("grid", "animate")
            reason = "is for images, but this data set has none"
            require(fits, reason, "remove this view", "what", options.what)
        parsed.append(options)
    return parsed


def checked_view(options: ViewOptions, game: Game, names: Sequence[str], typed: str | None) -> ViewOptions:
    """The options of a view of a game, with the number of its class; see `class_number`.

    Raises:
        ConfigError: there is no such class, the generator lacks the latents that the view shows, or the
            images do not fit into memory.
    """
    from ganlab.networks.priors import is_round  # imports torch, which the game has done

    has_latents = game.generator.latent_dim > 0 or options.what not in ("interpolate", "arithmetic")
    require(has_latents, "the generator has no latents", "choose what=grid", "what", options.what)
    prior = game.presented("generator").prior
    reason = f"great circles leave the latents of {type(prior).__name__}"
    require(options.path != "slerp" or is_round(prior), reason, "choose path=lerp", "path", options.path)
    # A grid enlarges images to 32 pixels a side.
    pixels = max(options.n, options.columns) * prod(max(side, 32) for side in game.shape[-2:])
    fits = options.what == "animate" or pixels <= MAX_PIXELS[options.format]
    reason = f"samples of shape {[*game.shape]} do not fit into memory, with columns={options.columns}"
    require(fits, reason, "lower n or columns", "n", options.n)
    return options._replace(label=class_number(options.label, typed, names, game.generator.num_classes))


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


def check_output(path: Path, options: ViewOptions) -> None:
    """Refuses an output that does not suit the view, or that would be mixed with other files."""
    ending = ".gif" if options.what == "animate" else ".png"
    suffix = path.suffix.lower()
    if options.format == "files":
        wanted = "a new or empty folder, not named like an image"
        is_free = not any(path.iterdir()) if path.is_dir() else not path.exists()
        fits = is_free and suffix not in (".gif", ".jpeg", ".jpg", ".png")
    else:
        wanted = f"a file that ends in {ending}, and not a sample grid of the run"
        is_grid_of_run = re.search(r"samples/(\w+_)?\d+\.png$", path.as_posix())
        fits = suffix == ending and not path.is_dir() and not is_grid_of_run
    require(fits, f"must be {wanted}", "choose another", "output", path)


def file_name(options: ViewOptions, step: int, names: Sequence[str]) -> str:
    """A file name that describes the view, and is not that of a sample grid of the run."""
    label = options.label
    stem = f"{step:07d}_n{options.n}_seed{options.seed}" + (f"_{options.part}" if options.part else "")
    if options.condition is not None:
        stem += f"_{slug(options.condition)}"
    if label is not None:
        stem += f"_class{label}"
        if names and names[label] != str(label):
            stem += f"_{slug(names[label])}"
    if options.what == "grid":
        return stem if options.format == "files" else f"{stem}.png"
    training = f"training_{options.part}.gif" if options.part else "training.gif"
    return training if options.what == "animate" else f"{stem}_{view_name(options)}.png"


def slug(name: str) -> str:
    """At most 64 characters of a class name, with `_` in place of those that may not be in a file name."""
    return re.sub(r"[^\w.-]+", "_", name)[:64]


def view_name(options: ViewOptions) -> str:
    """The name of a view, with the suffix `_features` if it compares features instead of pixels."""
    return f"{options.what}_features" if options.space == "features" else str(options.what)
