"""Pictures of samples during training."""

from pathlib import Path
from typing import Any

from PIL import Image
from pytorch_lightning import Callback, Trainer

from ganlab.config.stages import Timetable
from ganlab.data.base import Data
from ganlab.training.module import GameModule
from ganlab.visualize.grid import save_png
from ganlab.visualize.sample_picture import sample_picture

IMAGES, POINTS = 64, 2500  # samples of a picture; published mode counts are those of 2500 points


class SampleImages(Callback):
    """Writes a picture of samples from fixed latents every `every` steps and after the last.

    Not in stages before the last, in which its generator is not trained.
    """

    def __init__(self, folder: Path, data: Data, every: int, times: Timetable):
        self.folder = folder
        self.data = data
        self.every = every
        self.times = times

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        if step <= self.times.begins or (step % self.every and step != self.times.total):
            return
        game, data = module.game, self.data
        whole_rows = IMAGES - IMAGES % min(game.generator.num_classes or 1, IMAGES)
        samples = game.sample_on_all_ranks(POINTS if len(game.shape) == 1 else whole_rows)
        if not trainer.is_global_zero:
            return
        names = data.class_names or ()
        image = sample_picture(game, samples, data, value_range=data.value_range, names=names)
        path = self.folder / f"{step:07d}.png"
        logged = path.exists()  # a resume plays some steps again, and the loggers have their pictures
        save_png(image, path)
        if not logged:
            for logger in trainer.loggers:
                log_image(logger, "samples", image, step)


def log_image(logger: object, name: str, image: Image.Image | Path, step: int) -> None:
    """Logs an image, or the file of an animation, if the logger supports it."""
    animated = isinstance(image, Path)
    if (log := getattr(logger, "log_video" if animated else "log_image", None)) is not None:
        log(name, [str(image) if animated else image], step, **({"format": ["gif"]} if animated else {}))
