"""A logger of a run that writes files for TensorBoard."""

import shlex
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from omegaconf import DictConfig
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError


def silence_writers(default: Callable[[threading.ExceptHookArgs], Any] = threading.excepthook) -> None:
    """Stops the threads that write events from printing tracebacks: the next event raises the error."""
    threading.excepthook = lambda args: (
        None if type(args.thread).__name__ == "_AsyncWriterThread" else default(args)
    )


class TensorBoard(TensorBoardLogger):
    """Writes TensorBoard's events to the run directory, by the step of the game; a resume appends to them.

    Raises:
        ConfigError: tensorboard is not installed.
    """

    def __init__(self, directory: RunDirectory, cfg: DictConfig):
        self.location = f"tensorboard --logdir {shlex.quote(str(directory.path))}"
        silence_writers()
        try:
            super().__init__(save_dir=str(directory.path), name="tensorboard", version="")
        except ModuleNotFoundError as error:
            remedy = "run pip install tensorboard, or set logger=csv"
            raise ConfigError("needs the package tensorboard", remedy, "logger", "tensorboard") from error

    def log_image(self, key: str, images: list[Image.Image], step: int) -> None:
        """Logs images [H, W] or [H, W, 3] under one key."""
        for i, image in enumerate(images):
            name = key if len(images) == 1 else f"{key}/{i}"
            pixels: Any = np.asarray(image.convert("RGB"))
            self.experiment.add_image(name, pixels, step, dataformats="HWC")
