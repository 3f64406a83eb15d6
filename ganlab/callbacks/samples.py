from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.pictures import columns_for, picture, save
from ganlab.training.base import GameModule
from ganlab.views import show

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
        game = module.game
        columns = columns_for(game.generator.num_classes)
        samples = game.sample_on_all(1000 if len(game.shape) == 1 else COUNT - COUNT % (columns or 1))
        if not trainer.is_global_zero:
            return
        image = picture(samples, self.value_range, columns)
        place = self.folder / f"{step:07d}.png"
        known = place.exists()  # to the loggers too: a resume plays some rounds again
        save(image, place)
        if not known:
            for logger in trainer.loggers:
                show(logger, "samples", image, step)
