"""Small image data sets that torchvision reads, and downloads if they are missing."""

import io
import socket
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from typing import Literal, Unpack

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, Declared, verify, verify_images
from ganlab.data.sources import Choice, Memory, hold_out

FOLDERS = {"MNIST": "MNIST", "FashionMNIST": "FashionMNIST", "CIFAR10": "cifar-10-batches-py"}
CLASS_NAMES = {
    "FashionMNIST": "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot",
    "CIFAR10": "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck",
}  # as in torchvision; digits need none
TIMEOUT = 20.0  # seconds without an answer of the server


class Vision(Data):
    """MNIST (LeCun et al., 1998), Fashion-MNIST (Xiao et al., 2017) or CIFAR-10 (Krizhevsky, 2009).

    Args:
        dataset: torchvision's name of the data set.
        root: folder that contains torchvision's folder of it.
        flip: mirror half of the training images.
        validation: the number of training images that are held out.
        validation_choice: last, those at the end; random, the same ones in every run.
        labelled: the number of training images whose labels a semi-supervised trick may see; None: no trick
            may see them.

    Raises:
        ConfigError: the data are missing and cannot be downloaded, or are damaged; a declared setting
            contradicts them; or too few images are left.
    """

    def __init__(
        self,
        dataset: Literal["MNIST", "FashionMNIST", "CIFAR10"],
        root: str,
        flip: bool,
        validation: Whole,
        validation_choice: Choice,
        labelled: Count | None,
        **declared: Unpack[Declared],
    ):
        verify(declared, num_classes=10)  # before a download
        training, test = load_splits(dataset, root)
        verify_images(declared, shape=training[0].shape[1:], num_classes=10)
        sources = hold_out(*training, validation, validation_choice, flip) | {"test": Memory(*test, flip)}
        super().__init__(**declared, sources=sources, labelled=labelled)
        self.class_names = tuple(CLASS_NAMES[dataset].split(",")) if dataset in CLASS_NAMES else None


def load_splits(dataset: str, root: str) -> list[tuple[Tensor, Tensor]]:
    """Images [N, C, H, W] uint8 and labels [N] of the training and the test split; downloads missing data.

    Raises:
        ConfigError: the data are missing and cannot be downloaded, or are damaged.
    """
    from torchvision import datasets  # imported here because it takes seconds

    home = Path(root).expanduser()
    require(home.is_dir() or not home.exists(), ".root", root, "is a file", "set it to a folder")
    folder = home / FOLDERS[dataset]
    if not folder.is_dir():
        _download(dataset, home)
    splits = []
    for train in (True, False):
        try:
            found = getattr(datasets, dataset)(str(home), train=train, download=False)
        except Exception as error:  # torchvision has no error of its own for damaged files
            remedy = "delete it, and it is downloaded again, or set the root to an undamaged copy"
            raise ConfigError(f"{folder} is incomplete or damaged", remedy, ".root", root) from error
        images = torch.as_tensor(found.data)
        images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)  # [N, C, H, W]
        splits.append((images.contiguous(), torch.as_tensor(found.targets).long()))
    return splits


def _download(dataset: str, root: Path) -> None:
    """Downloads a data set into `root`, atomically: it is renamed into place when it is complete."""
    from torchvision import datasets

    folder = FOLDERS[dataset]
    existing = next(parent for parent in (root, *root.absolute().parents) if parent.is_dir())
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torchvision sets none and would wait for ever
    try:
        # In a folder next to the target, because a rename works only within one file system.
        with tempfile.TemporaryDirectory(dir=existing) as temporary:
            # Without torchvision's progress bar.
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                getattr(datasets, dataset)(temporary, download=True)
            root.mkdir(parents=True, exist_ok=True)
            try:
                (Path(temporary) / folder).rename(root / folder)
            except OSError:
                if not (root / folder).is_dir():  # otherwise another process has put the same data there
                    raise
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split())[:200]
        reason = f"does not contain {folder}, and downloading it failed ({reason})"
        remedy = f"put torchvision's folder {folder} there, or set the root to where it is"
        raise ConfigError(reason, remedy, ".root", str(root)) from error
    finally:
        socket.setdefaulttimeout(timeout)
