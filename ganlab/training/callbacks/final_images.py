from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import require, within
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.training.callbacks.samples import log_image
from ganlab.training.module import GameModule
from ganlab.visualize.latent import VIEWS, feature_space
from ganlab.visualize.options import file_name, fit_to_game, parse_views, view_name


class LastViews(Callback):
    """Views of the game after its last round, among its samples and for the loggers.

    Raises:
        ConfigError: there is no such view, or it does not suit these data, or this run.
    """

    def __init__(self, cfg: DictConfig, data: Data, run: RunDirectory, game: Game, times: Timetable):
        self.wanted = parse_views(cfg.views, data.value_range is not None)
        self.data, self.names = data, data.class_names or ()
        self.run = run
        self.steps = times.total
        once = all(step % cfg.sample_every for step in range(times.begins + 1, times.total))
        for i, view in enumerate(self.wanted):
            with within(f"views[{i}]", joint="."):
                fit_to_game(view, game, self.names)
                if view.space == "features":
                    feature_space(cfg, data)  # refused here, not after the last round
                few = f"an animation needs two images, and sample_every={cfg.sample_every} makes one"
                require(view.what != "animate" or not once, "what", "animate", few, "lower sample_every")

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        game = module.game
        if game.step < self.steps or not trainer.is_global_zero:
            return
        for wanted in self.wanted:
            view = VIEWS[wanted.what](wanted, self.run, game, self.data)
            place = self.run.samples / file_name(wanted, game.step, self.names)
            view.write(place)
            image = place if place.suffix == ".gif" else view.images[0]
            for logger in trainer.loggers:
                log_image(logger, view_name(wanted), image, game.step)
