from collections.abc import Iterable
from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.run_directory import RunDirectory
from ganlab.training.base import GameModule
from ganlab.viewing import called, file_name
from ganlab.views import VIEWS, show


class LastViews(Callback):
    """Views of the game after its last round, among its samples and for the loggers."""

    def __init__(self, wanted: Iterable[Any], run: RunDirectory, steps: int):
        self.wanted = wanted
        self.run = run
        self.steps = steps

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        game = module.game
        if game.step < self.steps or not trainer.is_global_zero:
            return
        for asked in self.wanted:
            view = VIEWS[asked.what](asked, self.run, game)
            place = self.run.samples / file_name(asked, game.step)
            view.write(place)
            for logger in trainer.loggers:
                show(logger, called(asked), place if view.form == "film" else view.pictures[0], game.step)
