"""A logger of a run that writes files for TensorBoard."""

import shlex
import threading
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError

default_excepthook = threading.excepthook


def report_unless_writer(args: threading.ExceptHookArgs) -> None:
    """Reports an exception that ended a thread, unless TensorBoard will raise it with the next event."""
    if type(args.thread).__name__ != "_AsyncWriterThread":
        default_excepthook(args)


class TensorBoard(TensorBoardLogger):
    """Writes the events of TensorBoard to the run directory; a resume adds to them.

    The x-axis is the step of the game. The constructor replaces `threading.excepthook`.

    Attributes:
        view_command: the command that shows the events.

    Raises:
        ConfigError: tensorboard is not installed.
    """

    def __init__(self, directory: RunDirectory):
        self.directory = directory
        self.view_command = f"tensorboard --logdir {shlex.quote(str(directory.path))}"
        threading.excepthook = report_unless_writer
        try:
            super().__init__(str(directory.path), "tensorboard", version="", default_hp_metric=False)
        except ModuleNotFoundError as error:
            remedy = "run pip install tensorboard, or set logger=csv"
            raise ConfigError("needs the package tensorboard", remedy, "logger", "tensorboard") from error

    def finalize(self, status: str) -> None:
        """Writes the settings with the last metrics, which the tab HPARAMS of TensorBoard compares."""
        summary = self.directory.summary()
        if summary.get("status") in (None, "running"):  # Lightning calls this before the run has its metrics
            return
        steps = summary.get("steps", 0)
        metrics = {name: record["value"] for name, record in summary.get("metrics", {}).items()}
        self.log_hyperparams(self.hparams, metrics or {"steps": steps}, steps)
        super().finalize(status)

    def log_image(self, key: str, images: list[Image.Image], step: int) -> None:
        """Logs images. The method has the signature of Lightning's W&B logger."""
        for image in images:
            pixels: Any = np.asarray(image.convert("RGB"))  # [H, W, 3]
            self.experiment.add_image(key, pixels, step, dataformats="HWC")

    def log_alert(self, name: str, text: str, step: int) -> None:
        """Logs a finding of the health monitor as a text."""
        self.experiment.add_text(f"health/{name}", text, step)
