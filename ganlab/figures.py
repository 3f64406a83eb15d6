"""python -m ganlab.figures: draws the introductory theory as PNG and animated GIF."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from omegaconf import DictConfig, ListConfig

from ganlab.cli import launch
from ganlab.core.errors import ConfigError
from ganlab.filesystem import refuse_unwritable

NAMES = ("inverse_transform", "matching", "intuition", "adversarial", "costs", "ring", "neighbours")


def figures(cfg: DictConfig, overrides: Sequence[str] = ()) -> list[Path]:
    """Draws the figures that are asked for, by their numbers from 1, into a folder.

    Returns:
        The files.

    Raises:
        ConfigError: there is no such figure, a value is out of its range, or the folder cannot be written.
    """
    numbers = cfg.figures if isinstance(cfg.figures, ListConfig) else []
    if not numbers or any(type(n) is not int or not 1 <= n <= len(NAMES) for n in numbers):
        known = ", ".join(f"{n} {name}" for n, name in enumerate(NAMES, 1))
        raise ConfigError(f"figures={cfg.figures} must be a list of numbers: {known}")
    from ganlab.config.build import instantiate
    from ganlab.theory.style import save_frames
    from ganlab.training.process import quiet

    quiet()
    output, written = Path(cfg.output), []
    for number in sorted(set(numbers)):
        name, began = NAMES[number - 1], perf_counter()
        frames = instantiate(cfg[name])
        with refuse_unwritable(output, "choose another output"):
            output.mkdir(parents=True, exist_ok=True)
            files = save_frames(frames, output / f"{number}_{name}")
        print(f"{perf_counter() - began:5.1f} s  {'  '.join(map(str, files))}", flush=True)
        written += files
    return written


def main() -> None:
    launch("figures", figures)


if __name__ == "__main__":
    main()
