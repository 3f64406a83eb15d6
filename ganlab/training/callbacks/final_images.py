"""Images and animations of the game after its last step."""

from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import require
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.training.module import GameModule
from ganlab.visualize.latent import VIEWS, features_of, show
from ganlab.visualize.options import asked, called, file_name, fit, through_extractor


class FinalImages(Callback):
    """Writes the views of `cfg.views` to the folder of the samples and to the loggers.

    Raises:
        ConfigError: there is no such view, or the data or the length of the run do not allow it.
    """

    def __init__(self, cfg: DictConfig, data: Data, run: RunDirectory, game: Game, times: Timetable):
        self.views = asked(cfg.views, data.value_range is not None)
        if any(through_extractor(view) for view in self.views):
            features_of(cfg, data)  # raises now, not after the last step
        self.data, self.class_names = data, data.class_names or ()
        self.run, self.steps = run, times.total
        only_last = all(step % cfg.sample_every for step in range(times.begins + 1, times.total))
        reason = "makes a single picture of this run, and views=[animate] takes two"
        for view in self.views:
            fit(view, game, self.class_names)
            enough = view.what != "animate" or not only_last
            require(enough, "sample_every", cfg.sample_every, reason, "lower it, or remove animate")

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        game = module.game
        if game.step < self.steps or not trainer.is_global_zero:
            return
        for options in self.views:
            view = VIEWS[options.what](options, self.run, game, self.data)
            path = self.run.samples / file_name(options, game.step, self.class_names)
            view.write(path)
            for logger in trainer.loggers:
                show(logger, called(options), path if view.form == "film" else view.pictures[0], game.step)
