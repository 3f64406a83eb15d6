"""What a view of a trained game may be asked for, by conf/sample.yaml; `ganlab.views` makes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from omegaconf import DictConfig

from ganlab.cli import compose
from ganlab.errors import Refused
from ganlab.values import count

ELSEWHERE = {"checkpoint", "format", "root"}  # settings of ganlab.sample that a run has not at its end
SAMPLED = {"n", "seed", "class", "checkpoint"}
# Which settings each view looks at, beside run_dir, output and trust.
USES: dict[str, set[str]] = {
    "grid": SAMPLED | {"format"},
    "neighbours": SAMPLED | {"columns", "root", "space"},
    "interpolate": SAMPLED | {"columns", "path"},
    "arithmetic": SAMPLED | {"plus", "minus"},
    "animate": set(),
}
CHOICES = {
    "what": [*USES],
    "format": ["grid", "files"],
    "path": ["slerp", "lerp"],
    "space": ["pixels", "features"],
}


def check(cfg: DictConfig, given: Collection[str]) -> None:
    """Refuses values out of their ranges, and given ones that this view does not look at."""
    for key, known in CHOICES.items():
        if cfg[key] not in known:
            raise Refused(f"{key}={cfg[key]} must be {', '.join(known[:-1])} or {known[-1]}")
    for key, low, most in (("n", 1, 10**6), ("seed", 0, None), ("class", 0, None), ("columns", 2, 1000)):
        if not (key == "class" and cfg[key] is None):
            count(key, cfg[key], low, most)
    for key in sorted(set(given).intersection(key for keys in USES.values() for key in keys)):
        if key not in USES[cfg.what]:
            raise Refused(f"{key} has no say in what={cfg.what}: leave it out")


def file_name(cfg: DictConfig, step: int) -> str:
    """Says what is in it; never that of a picture made in training."""
    asked = f"{step:07d}_n{cfg.n}_seed{cfg.seed}" + ("" if cfg["class"] is None else f"_class{cfg['class']}")
    if cfg.what == "grid":
        return f"{asked}.png" if cfg.format == "grid" else asked
    return "training.gif" if cfg.what == "animate" else f"{asked}_{called(cfg)}.png"


def called(cfg: DictConfig) -> str:
    """The name of a view, which says so where it looks through an extractor."""
    return f"{cfg.what}_features" if through_extractor(cfg) else str(cfg.what)


def through_extractor(cfg: DictConfig) -> bool:
    """Whether a view looks through the run's extractor."""
    return "space" in USES[cfg.what] and bool(cfg.space == "features")


def asked(views: str | Sequence[Any], of_images: bool) -> list[DictConfig]:
    """The settings of views by their names, or by mappings with `what` and more.

    Raises:
        Refused: there is no such view, one has settings that it does not look at, or shows images alone.
    """
    found = []
    for view in [views] if isinstance(views, str) else views:
        given = {"what": view} if isinstance(view, str) else {str(key): view[key] for key in view}
        cfg = compose(config_name="sample")
        for key, value in given.items():
            if key not in {"what", *(key for keys in USES.values() for key in keys)} - ELSEWHERE:
                raise Refused(f"views: {key}={value} has no say at the end of a run; leave it out")
            cfg[key] = value
        check(cfg, given)
        if not of_images and cfg.what not in ("grid", "animate"):
            raise Refused(f"views: {cfg.what} shows images, and these data are none; leave it out")
        found.append(cfg)
    return found
