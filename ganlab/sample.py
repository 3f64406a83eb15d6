"""python -m ganlab.sample: draws samples from a run and writes them as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.errors import Refused


def sample(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes a grid, or single images, from the network that the run samples.

    Returns:
        The picture, or the folder of the pictures.

    Raises:
        Refused: no run, no readable checkpoint, or a value out of its range.
    """
    if cfg.run_dir is None:
        raise Refused("run_dir is missing: give the directory of a run, run_dir=outputs/...")
    for key, low in {"n": 1, "seed": 0, "class": 0}.items():
        value = cfg[key]
        if not (isinstance(value, int) and value >= low) and not (key == "class" and value is None):
            raise Refused(f"{key}={value} must be a whole number of at least {low}")
    if cfg.format not in ("grid", "files"):
        raise Refused(f"format={cfg.format} must be grid or files")
    from ganlab.config import load
    from ganlab.pictures import images, picture, save
    from ganlab.run_directory import RunDirectory

    run = RunDirectory(cfg.run_dir)
    game = load(cfg.run_dir, cfg.checkpoint, cfg.trust)
    value_range = run.config().data.range
    samples = game.sample(cfg.n, cfg.seed, cfg["class"])
    output = Path(cfg.output) if cfg.output else run.samples / name(cfg, game.step)
    if cfg.format == "grid":
        made = {output: picture(samples, value_range)}
    else:
        made = {output / f"{i:05d}.png": image for i, image in enumerate(images(samples, value_range))}
    try:
        for path, image in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            save(image, path)
    except OSError as error:
        raise Refused(f"{output} cannot be written: {error.strerror}; choose another output") from error
    print(f"{cfg.n} samples of round {game.step}: {output}")
    return output


def name(cfg: DictConfig, step: int) -> str:
    """Says what is in it; never that of a picture made in training."""
    asked = f"{step:07d}_n{cfg.n}_seed{cfg.seed}" + ("" if cfg["class"] is None else f"_class{cfg['class']}")
    return f"{asked}.png" if cfg.format == "grid" else asked


def main() -> None:
    launch("sample", sample)


if __name__ == "__main__":
    main()
