"""Small image data sets: those that scikit-learn ships or torchvision downloads, and stacked MNIST."""

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
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, Declared, verify, verify_images
from ganlab.data.sources import Choice, InMemory, Memory, hold_out

FOLDERS = {"MNIST": "MNIST", "FashionMNIST": "FashionMNIST", "CIFAR10": "cifar-10-batches-py"}
CLASS_NAMES = {
    "FashionMNIST": "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot",
    "CIFAR10": "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck",
}  # as in torchvision; digits need none
TRAINING = 1437  # training images of scikit-learn's digits, of 1797
DIGITS = 10
CHANNELS = 3  # of a stack of digits
TIMEOUT = 20.0  # seconds without an answer of the server


class Digits(Data):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998).

    The last fifth is the test split. Neighbours in the file look alike, as if written by one hand: an
    interleaved test split has a fid/digits of 1.5 to the training images, and the last fifth one of 4 to 9.
    Only the latter measures generalisation to other handwriting.

    Args:
        validation: the number of training images that are held out.
        validation_choice: last, those at the end; random, the same ones in every run.
        labelled: the number of training images whose labels a semi-supervised trick may see; None: no trick
            may see them.

    Raises:
        ConfigError: a declared setting contradicts the data, or too few images are left.
    """

    def __init__(
        self,
        validation: Whole,
        validation_choice: Choice,
        labelled: Count | None,
        **declared: Unpack[Declared],
    ):
        from sklearn.datasets import load_digits  # imported here because it takes a second

        found = load_digits()
        images = torch.from_numpy(found.images)[:, None]  # [1797, 1, 8, 8], 0 to 16
        pixels = (images * 255 / 16).round().byte()
        labels = torch.from_numpy(found.target).long()
        verify_images(declared, shape=pixels.shape[1:], num_classes=10)
        training = hold_out(pixels[:TRAINING], labels[:TRAINING], validation, validation_choice, flip=False)
        test = Memory(pixels[TRAINING:], labels[TRAINING:], flip=False)
        super().__init__(**declared, sources=training | {"test": test}, labelled=labelled)


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


class StackedMNIST(Data):
    """Images [3, 28, 28] of three random MNIST digits (Metz et al. 2017; Srivastava et al. 2017).

    The class is the number that the digits form, red first: 0 to 999. Stacks are put together batch by
    batch, so every MNIST image is in memory once.

    Args:
        root: folder that contains torchvision's folder of MNIST.
        size: stacks in the training split, the same ones in every run.
        test_size: stacks in the test split.
        data_seed: of the choice of digits.

    Raises:
        ConfigError: MNIST is not in `root` and cannot be downloaded, or a declared setting contradicts it.
    """

    def __init__(
        self, root: str, size: Count, test_size: Count, data_seed: Whole, **declared: Unpack[Declared]
    ):
        verify_images(declared, shape=(CHANNELS, 28, 28), num_classes=DIGITS**CHANNELS)
        splits = zip(("train", "test"), (size, test_size), load_splits("MNIST", root), strict=True)
        sources = {split: Stacks(*images, n, data_seed, split) for split, n, images in splits}
        super().__init__(**declared, sources=sources)


class Stacks(InMemory):
    """Stacks of images [N, 1, H, W] with labels [N], drawn with replacement.

    Args:
        n: the number of stacks.
        split: whose stacks these are: part of the seed.
    """

    augments = False
    labels: Tensor

    def __init__(self, images: Tensor, labels: Tensor, n: int, data_seed: int, split: str):
        self.images = images
        own = seeded_generator("stacked", data_seed, split)
        self.parts = torch.randint(len(images), (n, CHANNELS), generator=own)  # [n, 3]
        powers = DIGITS ** torch.arange(CHANNELS - 1, -1, -1)
        self.labels = (labels[self.parts] * powers).sum(1)  # [n]

    def __len__(self) -> int:
        return len(self.parts)

    def take(self, rows: Tensor, random_numbers: Tensor | None) -> Tensor:
        return self.images[self.parts[rows]].squeeze(2)


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
            with redirect_stdout(io.StringIO()) as text, redirect_stderr(text):  # without a progress bar
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
