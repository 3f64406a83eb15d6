"""Callbacks that write pictures: of samples during a run, and of the views that are chosen for its end."""

import sys
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from PIL import Image
from pytorch_lightning import Callback, Trainer

from ganlab.config.stages import Timetable
from ganlab.config.views import Scene, ViewOptions, checked_view, file_name, view_name
from ganlab.core.errors import prefixing_all_keys, require
from ganlab.core.players import path
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.games import find_part
from ganlab.training.module import GameModule
from ganlab.visualize.images import save_png
from ganlab.visualize.sample_picture import conditions_of_picture, sample_picture
from ganlab.visualize.views import VIEWS, feature_embedding, refuse_without_encoder

NUM_IMAGES = 64  # the largest number of samples in a picture of images
# The number of samples in a picture of points. Papers count the covered modes among as many samples.
NUM_POINTS = 2500


class SamplePictures(Callback):
    """Writes a picture of samples from fixed latents every `every` steps and after the last one.

    Steps of a stage before the main game have no pictures: `Timetable.is_due` is false at these steps.
    """

    place = "show"

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
        n = NUM_POINTS if len(game.shape) == 1 else num_images
        samples = game.sample_on_all_processes(n, conditions=conditions_of_picture(game, n))
        if not trainer.is_global_zero:
            return
        low, high = data.value_range or (-inf, inf)
        is_inside = low - 0.01 <= samples.min() <= samples.max() <= high + 0.01
        if not (is_inside or any(self.folder.iterdir())):  # once in a run
            found = f"[{samples.min():.3g}, {samples.max():.3g}] and data in [{low:g}, {high:g}]"
            print(f"samples lie in {found}: let tanh or sigmoid end the generator", file=sys.stderr)
        names = data.class_names or ()
        picture = sample_picture(game, samples, data, value_range=data.value_range, names=names)
        file = self.folder / f"{f'{part}_' if part else ''}{game.run_step:07d}.png"
        is_new = not file.exists()  # a resumed run repeats some steps, whose pictures were logged before
        save_png(picture, file)
        if is_new:
            log_picture(trainer, path(part, "samples"), picture, game.run_step)


class FinalViews(Callback):
    """After the last step, writes some views to the folder samples/ and to the loggers.

    Args:
        views: the options of the views.
        every: the steps between two pictures of samples, from which an animation is made.

    Raises:
        ConfigError: the game, the data or the length of the run do not allow a view.
    """

    place = "show"

    def __init__(
        self, views: Sequence[ViewOptions], scene: Scene, games: Mapping[str, Game], every: int,
        timetable: Timetable,
    ):  # fmt: skip
        self.scene, self.every, self.timetable = scene, every, timetable
        self.views = [self._checked(f"views[{i}]", view, games) for i, view in enumerate(views)]

    def _checked(self, key: str, view: ViewOptions, games: Mapping[str, Game]) -> ViewOptions:
        """A view with the number of its class. Raises errors that it would raise only after the last step."""
        with prefixing_all_keys(key, separator="."):
            game = find_part(games, view.part)
            view = checked_view(view, game, self.scene.class_names, None)
            if view.space == "features":
                feature_embedding(self.scene, self.scene.data_of(view.part))  # is there a suitable extractor?
            if view.what == "reconstructions":
                refuse_without_encoder(game)
            if view.what == "animate":
                is_due, steps = self.timetable.is_due, range(1, self.timetable.total)
                reason = f"an animation needs two images, and sample_every={self.every} makes one"
                has_earlier = any(is_due(step, self.every) for step in steps)
                require(has_earlier, reason, "lower sample_every", "what", "animate")
            return view

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        step = module.game.run_step
        if step < self.timetable.total or not trainer.is_global_zero:
            return
        for options in self.views:
            view = VIEWS[options.what](options, self.scene, find_part(module.parts, options.part))
            file = self.scene.pictures / file_name(options, step, self.scene.class_names)
            view.write(file)
            log_picture(trainer, view_name(options), file if file.suffix == ".gif" else view.images[0], step)


def log_picture(trainer: Trainer, name: str, picture: Image.Image | Path, step: int) -> None:
    """Logs a picture, or the GIF file of an animation, to the loggers that support it."""
    for logger in trainer.loggers:
        if isinstance(picture, Path) and (log_video := getattr(logger, "log_video", None)):
            log_video(name, [str(picture)], step, format=["gif"])
        elif isinstance(picture, Image.Image) and (log_image := getattr(logger, "log_image", None)):
            log_image(name, [picture], step)
