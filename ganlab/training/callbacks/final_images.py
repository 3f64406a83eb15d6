"""Images and animations of the game after its last step."""

from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import prefixing_keys, require
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.training.callbacks.samples import log_image
from ganlab.training.module import GameModule
from ganlab.visualize.options import file_name, fit_to_game, parse_views, view_name
from ganlab.visualize.views import VIEWS, feature_embedding


class FinalImages(Callback):
    """Writes the views of `cfg.views` to the folder of the samples and to the loggers.

    Raises:
        ConfigError: there is no such view, or the data or the length of the run do not allow it.
    """

    def __init__(self, cfg: DictConfig, data: Data, run: RunDirectory, game: Game, times: Timetable):
        self.views = parse_views(cfg.views, data.value_range is not None)
        self.data, self.class_names = data, data.class_names or ()
        self.run, self.steps = run, times.total
        only_last = all(step % cfg.sample_every for step in range(times.begins + 1, times.total))
        reason = f"an animation needs two images, and sample_every={cfg.sample_every} makes one"
        for i, view in enumerate(self.views):
            with prefixing_keys(f"views[{i}]", joint="."):
                fit_to_game(view, game, self.class_names)
                if view.space == "features":
                    feature_embedding(cfg, data)  # raises now, not after the last step
                require(
                    view.what != "animate" or not only_last, "what", "animate", reason, "lower sample_every"
                )

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        game = module.game
        if game.step < self.steps or not trainer.is_global_zero:
            return
        for options in self.views:
            view = VIEWS[options.what](options, self.run, game, self.data)
            path = self.run.samples / file_name(options, game.step, self.class_names)
            view.write(path)
            image = path if path.suffix == ".gif" else view.images[0]
            for logger in trainer.loggers:
                log_image(logger, view_name(options), image, game.step)
