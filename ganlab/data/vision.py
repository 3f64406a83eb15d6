"""The classic small image sets, read by torchvision, downloaded where they are missing."""

from __future__ import annotations

import io
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count, Whole, check_declared, check_image_range
from ganlab.data.base import Data
from ganlab.data.labelled import labelled_among
from ganlab.data.sources import Choice, Memory, hold_out

FOLDERS = {"MNIST": "MNIST", "FashionMNIST": "FashionMNIST", "CIFAR10": "cifar-10-batches-py"}
NAMES = {
    "FashionMNIST": "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot",
    "CIFAR10": "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck",
}  # of the classes, as torchvision has them; digits are their own
PATIENCE = 20.0  # seconds that a silent server is waited for


class Vision(Data):
    """MNIST (LeCun et al., 1998), Fashion-MNIST (Xiao et al., 2017) or CIFAR-10 (Krizhevsky, 2009).

    `dataset` is torchvision's name of it; `root` the folder that holds torchvision's folder; `validation`
    how many training images are held out, `labelled` how many of the others a second stream shows.

    Raises:
        ConfigError: it is neither in `root` nor could be downloaded; it is there and damaged; `shape`,
            `num_classes` or `range` contradict it; no image is left to train on.
    """

    def __init__(
        self,
        dataset: Literal["MNIST", "FashionMNIST", "CIFAR10"],
        root: str,
        flip: bool,
        shape: Sequence[int],
        num_classes: int,
        range: Sequence[float],
        batch_size: Count,
        validation: Whole,
        validation_choice: Choice,
        labelled: Count | None,
    ):
        check_declared("num_classes", num_classes, 10)
        home = Path(root).expanduser()
        if home.exists() and not home.is_dir():
            raise ConfigError(f"data.root={root} is a file: set data.root to a folder")
        if not (home / FOLDERS[dataset]).is_dir():
            download(dataset, home)
        training, test = read(dataset, home, train=True), read(dataset, home, train=False)
        check_declared("shape", shape, tuple(training[0].shape[1:]))
        sources = hold_out(*training, validation, validation_choice, flip) | {"test": Memory(*test, flip)}
        super().__init__(shape, num_classes, check_image_range(range), batch_size, sources)
        self.class_names = tuple(NAMES[dataset].split(",")) if dataset in NAMES else None
        self.labelled = labelled_among(sources["train"], labelled, num_classes)


def read(dataset: str, root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W] uint8 and labels [N] of a split that lies in `root`."""
    from torchvision import datasets  # seconds of import that other data need not pay

    try:
        found = getattr(datasets, dataset)(str(root), train=train, download=False)
    except Exception as error:  # a damaged file fails in as many ways as there are lines that read it
        raise ConfigError(
            f"{root / FOLDERS[dataset]} is incomplete or damaged: delete it, and it is downloaded again, "
            "or set data.root to a good copy"
        ) from error
    images = torch.as_tensor(found.data)
    images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)  # [N, C, H, W]
    return images.contiguous(), torch.as_tensor(found.targets).long()


def download(dataset: str, root: Path) -> None:
    """Fetches a set into `root`, whole or not at all: it is renamed into place when it is complete."""
    from torchvision import datasets

    folder = FOLDERS[dataset]
    existing = next(place for place in (root, *root.absolute().parents) if place.is_dir())
    try:
        # Beside the target: a rename works within one file system only.
        with tempfile.TemporaryDirectory(dir=existing) as beside:
            # Off the terminal: torchvision's progress bar.
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), _impatient():
                getattr(datasets, dataset)(beside, download=True)
            root.mkdir(parents=True, exist_ok=True)
            _place(Path(beside) / folder, root / folder)
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"data.root={root} holds no {folder}, and downloading it failed ({reason}): "
            f"put torchvision's folder {folder} there, or set data.root to where it lies"
        ) from error


def _place(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was faster, and its copy is as good
            raise


@contextmanager
def _impatient() -> Iterator[None]:
    """Gives every connection a time limit: torchvision sets none, and waits for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
