from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger

from ganlab.pictures import picture, save
from ganlab.training.base import GameModule

COUNT = 64


class Samples(Callback):
    """A picture of samples from the same latents every `every` rounds and after the last.

    Up to round `begins` other stages are played, and there is nothing to be seen.
    """

    def __init__(
        self, folder: Path, value_range: tuple[float, float] | None, every: int, begins: int, steps: int
    ):
        self.folder = folder
        self.value_range = value_range
        self.every = every
        self.begins = begins
        self.steps = steps

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        if step <= self.begins or (step % self.every and step != self.steps):
            return
        samples = module.game.sample_on_all(COUNT if len(module.game.shape) > 1 else 1000)
        if not trainer.is_global_zero:
            return
        image = picture(samples, self.value_range)
        place = self.folder / f"{step:07d}.png"
        known = place.exists()  # to the loggers too: a resume plays some rounds again
        save(image, place)
        if not known:
            for logger in trainer.loggers:
                show(logger, image, step)


def show(logger: Logger, image: Any, step: int) -> None:
    """Hands a picture to a logger that takes pictures."""
    log_image = getattr(logger, "log_image", None)
    if log_image is not None:
        log_image("samples", [image], step)
