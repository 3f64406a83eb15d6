from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer

from ganlab.data.base import Data
from ganlab.run_directory import RunDirectory
from ganlab.training.base import GameModule
from ganlab.viewing import asked, called, file_name, through_extractor
from ganlab.views import VIEWS, features_of, show


class LastViews(Callback):
    """Views of the game after its last round, among its samples and for the loggers.

    Raises:
        Refused: there is no such view, or it does not suit these data.
    """

    def __init__(self, cfg: DictConfig, data: Data, run: RunDirectory, steps: int):
        self.wanted = asked(cfg.views, data.value_range is not None)
        if any(through_extractor(view) for view in self.wanted):
            features_of(cfg, data)  # refused here, not after the last round
        self.run = run
        self.steps = steps

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        game = module.game
        if game.step < self.steps or not trainer.is_global_zero:
            return
        for wanted in self.wanted:
            view = VIEWS[wanted.what](wanted, self.run, game)
            place = self.run.samples / file_name(wanted, game.step)
            view.write(place)
            for logger in trainer.loggers:
                show(logger, called(wanted), place if view.form == "film" else view.pictures[0], game.step)
