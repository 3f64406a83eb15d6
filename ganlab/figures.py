"""python -m ganlab.figures: draws figures that introduce the theory, as PNG and animated GIF."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.filesystem import config_error_if_unwritable

# The keys of the figures in conf/figures.yaml, in the order of their numbers, from 1.
FIGURES = ("inverse_transform", "matching", "intuition", "adversarial", "costs", "ring", "neighbours")


def figures(cfg: DictConfig, overrides: Sequence[str] = ()) -> list[Path]:
    """Draws the figures with the numbers in `cfg.figures` into the folder `cfg.output`; returns the files.

    Raises:
        ConfigError: a setting of a figure is wrong, or the folder cannot be written.
    """
    # These imports are slow, because they include torch.
    from ganlab.config.build import instantiate
    from ganlab.training.process_settings import silence_lightning
    from ganlab.visualize.images import save_frames

    silence_lightning()
    output, written = Path(cfg.output), []
    for number in sorted(set(cfg.figures)):
        start = perf_counter()
        name = FIGURES[number - 1]
        frames = instantiate(cfg[name])
        with config_error_if_unwritable(output, key="output"):
            output.mkdir(parents=True, exist_ok=True)
            files = save_frames(frames, output / f"{number}_{name}")
        print(f"{perf_counter() - start:5.1f} s  {'  '.join(map(str, files))}", flush=True)
        written += files
    return written


if __name__ == "__main__":
    launch("figures", figures)
