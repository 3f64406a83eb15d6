"""Small image data sets: the digits of scikit-learn, those that torchvision downloads, and stacked MNIST."""

import io
import socket
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from typing import Literal, Unpack

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, DataSettings, check_image_settings, check_settings
from ganlab.data.sources import InMemory, TensorSource

DatasetName = Literal["MNIST", "FashionMNIST", "CIFAR10"]  # as in torchvision
# The folder in which torchvision stores each data set.
FOLDERS = {"MNIST": "MNIST", "FashionMNIST": "FashionMNIST", "CIFAR10": "cifar-10-batches-py"}
# The class names of torchvision. MNIST has none, because the names of its classes are their labels.
CLASS_NAMES = {
    "FashionMNIST": "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot",
    "CIFAR10": "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck",
}
NUM_TRAIN = 1437  # the number of training images among the 1797 digits of scikit-learn
NUM_CLASSES = 10  # of each data set; stacked MNIST combines the classes of three digits
STACK_SIZE = 3  # the number of digits in a stack


class Digits(Data):
    """The handwritten digits that scikit-learn ships (Alpaydin and Kaynak 1998), [1, 8, 8].

    The last fifth of the file is the test split. Images that are close together in the file look alike, as if
    one person had written them. So a test split of every fifth image would not measure generalisation to
    other handwriting. The Frechet distances of the metric fid/digits show this: that between every fifth
    image and the other images is only 1.5, while that between the last fifth and the other images is at
    least 4.
    """

    def __init__(self, **settings: Unpack[DataSettings]):
        check_image_settings(settings, shape=(1, 8, 8), num_classes=NUM_CLASSES)
        super().__init__(**settings, sources=digit_sources())


def digit_sources(change: Callable[[Tensor], Tensor] = lambda pixels: pixels) -> dict[str, TensorSource]:
    """The splits of the digits of scikit-learn, see `Digits`.

    Args:
        change: a function of all images, [N, 1, 8, 8] uint8 -> [N, C, 8, 8].
    """
    from sklearn.datasets import load_digits  # imported here because it takes a second

    digits = load_digits()
    # [1797, 1, 8, 8], scaled from 0 to 16 to 0 to 255.
    pixels = change((torch.from_numpy(digits.images)[:, None] * 255 / 16).round().byte())
    labels = torch.from_numpy(digits.target).long()
    rows = {"train": slice(NUM_TRAIN), "test": slice(NUM_TRAIN, None)}
    return {split: TensorSource(pixels[part], labels[part], flip=False) for split, part in rows.items()}


class Vision(Data):
    """MNIST (LeCun et al. 1998), Fashion-MNIST (Xiao et al. 2017) or CIFAR-10 (Krizhevsky 2009).

    Args:
        dataset: torchvision's name of the data set.
        root: the folder that contains the folder of the data set, in torchvision's layout.
        flip: whether half of the training images are mirrored.

    Raises:
        ConfigError: the data are missing and cannot be downloaded, or are damaged; or a setting contradicts
            them.
    """

    def __init__(self, dataset: DatasetName, root: str, flip: bool, **settings: Unpack[DataSettings]):
        check_settings(settings, num_classes=NUM_CLASSES)  # a wrong setting is refused before a download
        train, test = load_splits(dataset, root)
        check_image_settings(settings, shape=train[0].shape[1:], num_classes=NUM_CLASSES)
        sources = {"train": TensorSource(*train, flip), "test": TensorSource(*test, flip=False)}
        names = CLASS_NAMES[dataset].split(",") if dataset in CLASS_NAMES else None
        super().__init__(**settings, sources=sources, class_names=names)


class StackedMNIST(Data):
    """Images [3, 28, 28] of three random MNIST digits (Metz et al. 2017; Srivastava et al. 2017).

    The class is the number that the digits form, red first: 0 to 999. Stacks are built batch by batch, so
    each MNIST image is in memory only once.

    Args:
        root: the folder that contains the folder of MNIST, in torchvision's layout.
        size: the number of stacks in the training split, the same ones in every run.
        test_size: the number of stacks in the test split.
        data_seed: the seed of the choice of digits.

    Raises:
        ConfigError: MNIST is not in `root` and cannot be downloaded, or a setting contradicts it.
    """

    def __init__(
        self, root: str, size: Count, test_size: Count, data_seed: Whole, **settings: Unpack[DataSettings]
    ):
        check_image_settings(settings, shape=(STACK_SIZE, 28, 28), num_classes=NUM_CLASSES**STACK_SIZE)
        train, test = load_splits("MNIST", root)
        stacks = Stacks(*train, size, data_seed, split="train")
        test_stacks = Stacks(*test, test_size, data_seed, split="test")
        super().__init__(**settings, sources={"train": stacks, "test": test_stacks})


class Stacks(InMemory):
    """Stacks [3, H, W] of three images, drawn with replacement.

    Args:
        images: the images, [N, 1, H, W].
        labels: the labels of the images, [N].
        n: the number of stacks.
        data_seed: the seed of the choice of images.
        split: the name of the split. The choice depends on it, so that splits have different stacks.
    """

    augments = False
    per_sample = ("parts",)

    def __init__(self, images: Tensor, labels: Tensor, n: int, data_seed: int, split: str):
        self.images = images
        generator = seeded_generator("stacked", data_seed, split)
        # For each stack, the rows of its three images in `images`, [n, 3].
        self.parts = torch.randint(len(images), (n, STACK_SIZE), generator=generator)
        powers = NUM_CLASSES ** torch.arange(STACK_SIZE - 1, -1, -1)  # 100, 10, 1
        self.labels = (labels[self.parts] * powers).sum(1)  # [n]

    def __len__(self) -> int:
        return len(self.parts)

    def take(self, rows: Tensor, random_numbers: Tensor) -> Tensor:
        return self.images[self.parts[rows]].squeeze(2)  # [b, 3, 1, H, W] -> [b, 3, H, W]


def load_splits(dataset: DatasetName, root: str) -> list[tuple[Tensor, Tensor]]:
    """The training split and the test split, each as images [N, C, H, W] uint8 and labels [N].

    Missing data are downloaded.

    Raises:
        ConfigError: the data are missing and cannot be downloaded, or are damaged.
    """
    from torchvision import datasets  # imported here because it takes seconds

    parent = Path(root).expanduser()
    require(parent.is_dir() or not parent.exists(), "is a file", "set it to a folder", ".root", root)
    folder = parent / FOLDERS[dataset]
    if not folder.is_dir():
        _download(dataset, parent)
    splits = []
    for train in (True, False):
        try:
            stored = getattr(datasets, dataset)(str(parent), train=train, download=False)
        except Exception as error:  # torchvision raises all kinds of errors about damaged files
            remedy = "delete it to download it again, or set the root to an undamaged copy"
            raise ConfigError(f"{folder} is incomplete or damaged", remedy, ".root", root) from error
        images = torch.as_tensor(stored.data)
        # From grey images [N, H, W] or colour images [N, H, W, C] to [N, C, H, W].
        images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)
        splits.append((images.contiguous(), torch.as_tensor(stored.targets).long()))
    return splits


def _download(dataset: DatasetName, root: Path) -> None:
    """Downloads a data set into a temporary folder. When the download is complete, moves it into `root`."""
    from torchvision import datasets

    folder = FOLDERS[dataset]
    nearest_parent = next(parent for parent in (root, *root.absolute().parents) if parent.is_dir())
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20.0)  # seconds; torchvision sets no timeout, and would wait forever
    try:
        # The temporary folder is on the file system of `root`, because a rename works only within one.
        with tempfile.TemporaryDirectory(dir=nearest_parent) as temporary:
            with redirect_stdout(io.StringIO()) as ignored, redirect_stderr(ignored):  # no progress bar
                getattr(datasets, dataset)(temporary, download=True)
            root.mkdir(parents=True, exist_ok=True)
            try:
                (Path(temporary) / folder).rename(root / folder)
            except OSError:
                # The folder exists if a different process has downloaded the same data in the meantime.
                if not (root / folder).is_dir():
                    raise
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        cause = " ".join(str(error).split())[:200]
        reason = f"does not contain {folder}, and downloading it failed ({cause})"
        remedy = f"put torchvision's folder {folder} into it, or set the root to the folder that contains it"
        raise ConfigError(reason, remedy, ".root", str(root)) from error
    finally:
        socket.setdefaulttimeout(previous_timeout)
