"""Callbacks that write pictures: of samples during a run, and of the views that are chosen for its end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from PIL import Image
from pytorch_lightning import Callback, Trainer

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.errors import prefixing_all_keys, require
from ganlab.core.players import path
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.games import find_part
from ganlab.training.module import GameModule
from ganlab.visualize.images import save_png
from ganlab.visualize.options import check_size, class_number, file_name, parse_views, view_name
from ganlab.visualize.sample_picture import sample_picture
from ganlab.visualize.views import VIEWS, feature_embedding, refuse_without_encoder

NUM_IMAGES = 64  # the largest number of samples in a picture of images
# The number of samples in a picture of points. Papers count the covered modes among as many samples.
NUM_POINTS = 2500


class SamplePictures(Callback):
    """Writes a picture of samples from fixed latents every `every` steps and after the last one.

    Steps of a stage before the main game have no pictures: `Timetable.is_due` is false at these steps.
    """

    def __init__(self, folder: Path, data: Data, every: int, timetable: Timetable):
        self.folder, self.data, self.every, self.timetable = folder, data, every, timetable

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if self.timetable.is_due(module.game.run_step, self.every):
            for name, game in module.parts.items():
                self._write(trainer, "" if game is module.game else name, game, self.data.of_part(name))

    def _write(self, trainer: Trainer, part: str, game: Game, data: Data) -> None:
        """Writes and logs the picture of a game; `part` is empty for the main game."""
        num_classes = min(game.generator.num_classes or 1, NUM_IMAGES)
        num_images = NUM_IMAGES - NUM_IMAGES % num_classes  # equally many samples of each class
        samples = game.sample_on_all_processes(NUM_POINTS if len(game.shape) == 1 else num_images)
        if not trainer.is_global_zero:
            return
        names = data.class_names or ()
        picture = sample_picture(game, samples, data, value_range=data.value_range, names=names)
        file = self.folder / f"{f'{part}_' if part else ''}{game.run_step:07d}.png"
        is_new = not file.exists()  # a resumed run repeats some steps, whose pictures were logged before
        save_png(picture, file)
        if is_new:
            log_picture(trainer, path(part, "samples"), picture, game.run_step)


class FinalViews(Callback):
    """After the last step, writes the views in `cfg.views` to the folder samples/ and to the loggers.

    Raises:
        ConfigError: there is no such view, or the data or the length of the run do not allow it.
    """

    def __init__(
        self, cfg: DictConfig, data: Data, run: RunDirectory, games: Mapping[str, Game], timetable: Timetable
    ):
        self.view_options = parse_views(cfg.views, of_images=data.value_range is not None)
        self.data, self.class_names = data, data.class_names or ()
        self.run, self.steps = run, timetable.total
        for i, options in enumerate(self.view_options):
            with prefixing_all_keys(f"views[{i}]", separator="."):
                game = find_part(games, options.part)
                check_size(options, game)
                num_classes = game.generator.num_classes
                options["class"] = class_number(options["class"], None, self.class_names, num_classes)
                self._check_view(options, cfg, timetable, game)

    def _check_view(self, options: DictConfig, cfg: DictConfig, timetable: Timetable, game: Game) -> None:
        """Raises the errors that the view would otherwise raise only after the last step."""
        if options.space == "features":
            feature_embedding(cfg, self.data)  # raises an error if the run has no suitable extractor
        if options.what == "reconstructions":
            refuse_without_encoder(game)
        if options.what == "animate":
            has_earlier = any(timetable.is_due(step, cfg.sample_every) for step in range(1, self.steps))
            reason = f"an animation needs two images, and sample_every={cfg.sample_every} makes one"
            require(has_earlier, reason, "lower sample_every", "what", "animate")

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        step = module.game.run_step
        if step < self.steps or not trainer.is_global_zero:
            return
        for options in self.view_options:
            game, data = find_part(module.parts, options.part), self.data.of_part(options.part)
            view = VIEWS[options.what](options, self.run, game, data)
            file = self.run.samples / file_name(options, step, self.class_names)
            view.write(file)
            picture = file if file.suffix == ".gif" else view.images[0]
            log_picture(trainer, view_name(options), picture, step)


def log_picture(trainer: Trainer, name: str, picture: Image.Image | Path, step: int) -> None:
    """Logs a picture, or the GIF file of an animation, to the loggers that support it."""
    for logger in trainer.loggers:
        if isinstance(picture, Path) and (log_video := getattr(logger, "log_video", None)):
            log_video(name, [str(picture)], step, format=["gif"])
        elif isinstance(picture, Image.Image) and (log_image := getattr(logger, "log_image", None)):
            log_image(name, [picture], step)
