from pathlib import Path
from typing import Any

from PIL import Image
from pytorch_lightning import Callback, Trainer

from ganlab.data.base import Data
from ganlab.training.module import GameModule
from ganlab.visualize.grid import save_png
from ganlab.visualize.portraits import portrait

IMAGES, POINTS = 64, 2500  # so many points the published counts of modes are of


class Samples(Callback):
    """A picture of samples from the same latents every `every` rounds and after the last.

    Up to round `begins` other stages are played, and there is nothing to be seen.
    """

    def __init__(self, folder: Path, data: Data, every: int, begins: int, steps: int):
        self.folder = folder
        self.data = data
        self.every = every
        self.begins = begins
        self.steps = steps

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        if step <= self.begins or (step % self.every and step != self.steps):
            return
        game, data = module.game, self.data
        even = IMAGES - IMAGES % min(game.generator.num_classes or 1, IMAGES)
        samples = game.sample_on_all(POINTS if len(game.shape) == 1 else even)
        if not trainer.is_global_zero:
            return
        image = portrait(game, samples, data, data.value_range, data.class_names or ())
        place = self.folder / f"{step:07d}.png"
        known = place.exists()  # to the loggers too: a resume plays some rounds again
        save_png(image, place)
        if not known:
            for logger in trainer.loggers:
                log_image(logger, "samples", image, step)


def log_image(logger: object, name: str, image: Image.Image | Path, step: int) -> None:
    """Logs an image, or the file of an animation, if the logger takes such."""
    animated = isinstance(image, Path)
    if (log := getattr(logger, "log_video" if animated else "log_image", None)) is not None:
        log(name, [str(image) if animated else image], step, **({"format": ["gif"]} if animated else {}))
