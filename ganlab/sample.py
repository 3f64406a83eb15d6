"""python -m ganlab.sample: draws samples from a run, looks at them in several ways, and writes pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.errors import Refused
from ganlab.values import count

# Which settings each view looks at, beside run_dir, checkpoint, seed, output and trust.
USES: dict[str, set[str]] = {
    "grid": {"n", "class", "format"},
    "neighbours": {"n", "class", "columns", "root"},
    "interpolate": {"n", "class", "columns", "path"},
    "arithmetic": {"n", "class", "plus", "minus"},
    "animate": set(),
}


def sample(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes a view of the network that the run samples: a grid or single images, or what else `what` says.

    Returns:
        The picture, or the folder of the pictures.

    Raises:
        Refused: no run, no readable checkpoint, or a value out of its range.
    """
    check(cfg, overrides)
    from ganlab.config import load
    from ganlab.run_directory import RunDirectory

    run = RunDirectory(cfg.run_dir)
    game = load(cfg.run_dir, cfg.checkpoint, cfg.trust)
    output = Path(cfg.output) if cfg.output else run.samples / name(cfg, game.step)
    try:
        told = VIEWS[cfg.what](cfg, run, game, output)
    except OSError as error:
        raise Refused(f"{output} cannot be written: {error.strerror}; choose another output") from error
    print(f"{told}: {output}")
    return output


def check(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuses values out of their ranges, and those that this view does not look at."""
    if cfg.run_dir is None:
        raise Refused("run_dir is missing: give the directory of a run, run_dir=outputs/...")
    for key, known in {"what": [*USES], "format": ["grid", "files"], "path": ["slerp", "lerp"]}.items():
        if cfg[key] not in known:
            raise Refused(f"{key}={cfg[key]} must be {', '.join(known[:-1])} or {known[-1]}")
    for key, low in {"n": 1, "seed": 0, "class": 0, "columns": 2}.items():
        if not (key == "class" and cfg[key] is None):
            count(key, cfg[key], low)
    given = {override.lstrip("+~").split("=")[0] for override in overrides}
    for key in sorted(given.intersection(key for keys in USES.values() for key in keys)):
        if key not in USES[cfg.what]:
            raise Refused(f"{key} has no say in what={cfg.what}: leave it out")


def plain(cfg: DictConfig, run: Any, game: Any, output: Path) -> str:
    from ganlab.pictures import images, picture

    value_range = run.config().data.range
    samples = game.sample(cfg.n, cfg.seed, cfg["class"])
    if cfg.format == "grid":
        written({output: picture(samples, value_range)})
    else:
        written({output / f"{i:05d}.png": image for i, image in enumerate(images(samples, value_range))})
    return f"{cfg.n} samples of round {game.step}"


def neighbours(cfg: DictConfig, run: Any, game: Any, output: Path) -> str:
    from ganlab.config import build_data
    from ganlab.views import neighbours as view

    own = run.config()
    if cfg.root is not None:
        own.data.root = cfg.root
    image, distances = view(game, build_data(own), cfg.n, cfg.seed, cfg["class"], cfg.columns)
    written({output: image})
    far = f"median distance {float(distances.median()):.3f}"
    return f"{cfg.n} samples of round {game.step} above their nearest training images ({far})"


def interpolate(cfg: DictConfig, run: Any, game: Any, output: Path) -> str:
    from ganlab.views import interpolate as view

    value_range = run.config().data.range
    written({output: view(game, value_range, cfg.n, cfg.seed, cfg["class"], cfg.columns, cfg.path)})
    return f"{max(cfg.n // cfg.columns, 1)} paths between samples of round {game.step}, by {cfg.path}"


def arithmetic(cfg: DictConfig, run: Any, game: Any, output: Path) -> str:
    from ganlab.views import arithmetic as view

    value_range = run.config().data.range
    written({output: view(game, value_range, cfg.n, cfg.seed, cfg["class"], list(cfg.plus), list(cfg.minus))})
    return f"samples {list(cfg.plus)} less {list(cfg.minus)}, and the sum, of round {game.step}"


def animate(cfg: DictConfig, run: Any, game: Any, output: Path) -> str:
    from ganlab.drawings.style import save_film
    from ganlab.views import animate as view

    frames = view(run)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_film(frames, output)
    return f"{len(frames)} pictures of training, from the same latents"


VIEWS = {
    "grid": plain,
    "neighbours": neighbours,
    "interpolate": interpolate,
    "arithmetic": arithmetic,
    "animate": animate,
}


def written(pictures: dict[Path, Any]) -> None:
    from ganlab.pictures import save

    for path, image in pictures.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        save(image, path)


def name(cfg: DictConfig, step: int) -> str:
    """Says what is in it; never that of a picture made in training."""
    asked = f"{step:07d}_n{cfg.n}_seed{cfg.seed}" + ("" if cfg["class"] is None else f"_class{cfg['class']}")
    if cfg.what == "grid":
        return f"{asked}.png" if cfg.format == "grid" else asked
    return "training.gif" if cfg.what == "animate" else f"{asked}_{cfg.what}.png"


def main() -> None:
    launch("sample", sample)


if __name__ == "__main__":
    main()
