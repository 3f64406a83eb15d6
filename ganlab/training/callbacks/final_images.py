from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.training.module import GameModule
from ganlab.visualize.latent import VIEWS, features_of, show
from ganlab.visualize.options import asked, called, file_name, fit, through_extractor


class LastViews(Callback):
    """Views of the game after its last round, among its samples and for the loggers.

    Raises:
        ConfigError: there is no such view, or it does not suit these data, or this run.
    """

    def __init__(self, cfg: DictConfig, data: Data, run: RunDirectory, game: Game, times: Timetable):
        self.wanted = asked(cfg.views, data.value_range is not None)
        if any(through_extractor(view) for view in self.wanted):
            features_of(cfg, data)  # refused here, not after the last round
        self.data, self.names = data, data.class_names or ()
        self.run = run
        self.steps = times.total
        once = all(step % cfg.sample_every for step in range(times.begins + 1, times.total))
        for view in self.wanted:
            fit(view, game, self.names)
            if view.what == "animate" and once:
                few = f"sample_every={cfg.sample_every} makes one picture of this run, and a film takes two"
                raise ConfigError(f"views: animate, but {few}: lower it, or leave animate out")

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        game = module.game
        if game.step < self.steps or not trainer.is_global_zero:
            return
        for wanted in self.wanted:
            view = VIEWS[wanted.what](wanted, self.run, game, self.data)
            place = self.run.samples / file_name(wanted, game.step, self.names)
            view.write(place)
            for logger in trainer.loggers:
                show(logger, called(wanted), place if view.form == "film" else view.pictures[0], game.step)
