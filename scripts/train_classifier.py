"""python scripts/train_classifier.py <data>: trains a classifier, whose features are compared by metrics.

`digits` takes 15 seconds. `mnist` and `fashion_mnist` read torchvision's files in `--root DIR` and take some
minutes on one core. A folder with a sub-folder for each class, as of data=folder, gives a classifier of its
images, which `extractor=trained extractor.name=<output>` uses:

    python scripts/train_classifier.py photos --side 64 --output photos.safetensors
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from ganlab.core.errors import require
from ganlab.metrics.extractors import CLASSIFIER_FOLDER, Classifier
from ganlab.metrics.features import round_to_256_levels


class Data(NamedTuple):
    """Images [N, C, H, W] in [0, 1] and their classes [N], for training and for testing."""

    train: Tensor
    train_classes: Tensor
    test: Tensor
    test_classes: Tensor


class Recipe(NamedTuple):
    """The length of training, and the augmentation of images."""

    epochs: int
    degrees: float  # the largest angle of a rotation
    pixels: float  # the largest shift along each axis
    noise: float  # the largest standard deviation of the noise of an image, for images in [0, 1]
    mirror: bool  # whether half of the images are mirrored


RECIPES = {
    "digits": Recipe(epochs=100, degrees=8, pixels=0.6, noise=0.1, mirror=False),
    "mnist": Recipe(epochs=6, degrees=12, pixels=2, noise=0.1, mirror=False),
    "fashion_mnist": Recipe(epochs=14, degrees=2, pixels=1, noise=0.03, mirror=True),
}


def digits() -> Data:
    """The 1797 digits of scikit-learn as 8-bit images of 8 x 8; the last fifth is for testing."""
    from sklearn.datasets import load_digits

    from ganlab.data.vision import NUM_TRAIN

    bunch = load_digits()
    eight_bits = np.round(bunch.images * 255 / 16).astype(np.uint8)
    images = torch.from_numpy(eight_bits)[:, None].float() / 255  # [N, 1, 8, 8]
    classes = torch.from_numpy(bunch.target)
    return Data(images[:NUM_TRAIN], classes[:NUM_TRAIN], images[NUM_TRAIN:], classes[NUM_TRAIN:])


def torchvision_data(dataset: str, root: Path) -> Data:
    """A data set of torchvision with its training and test split, [N, 1, 28, 28]; downloads missing files."""
    from ganlab.data.vision import load_splits

    (train, train_classes), (test, test_classes) = load_splits(dataset, str(root))
    return Data(train.float() / 255, train_classes, test.float() / 255, test_classes)


def class_folder(root: Path, side: int) -> Data:
    """The images of a folder with classes, resized to squares; without a test split, a fifth is held out."""
    from ganlab.config.build import build_data
    from ganlab.config.compose import compose

    settings = [f"data.root={root}", f"data.height={side}", "data.batch_size=1", "data.range=[0,1]"]
    data = build_data(compose("data=folder", *settings))
    require(
        data.num_classes is not None, "has no sub-folders, which are the classes", "make some", "folder", root
    )
    parts = []
    for split in ("train", *(["test"] if "test" in data.sources else [])):
        images, classes = zip(*data.split(split, "cpu", 500), strict=True)
        parts += [torch.cat(images), torch.cat(classes)]
    if len(parts) == 2:
        x, classes = parts
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        rows = order[: len(x) // 5], order[len(x) // 5 :]
        return Data(x[rows[1]], classes[rows[1]], x[rows[0]], classes[rows[0]])
    return Data(*parts)


def augment(x: Tensor, recipe: Recipe) -> Tensor:
    """Rotates, shifts and mirrors images at random, and adds Gaussian noise."""
    n, _, height, width = x.shape
    x = torch.where(torch.rand(n, 1, 1, 1) < 0.5, x.flip(3), x) if recipe.mirror else x
    angle = (2 * torch.rand(n) - 1) * math.radians(recipe.degrees)
    # `affine_grid` measures a shift in units of half the side of an image.
    shift = (2 * torch.rand(n, 2, 1) - 1) * recipe.pixels * 2 / torch.tensor([[width], [height]])
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    grid = functional.affine_grid(torch.cat([rotation, shift], 2), list(x.shape), align_corners=False)
    moved = functional.grid_sample(x, grid, align_corners=False)
    return (moved + recipe.noise * torch.rand(n, 1, 1, 1) * torch.randn_like(x)).clamp(0, 1)


def train(classifier: Classifier, data: Data, recipe: Recipe) -> None:
    """Trains with AdamW, a one-cycle learning rate and batches of 128, or of all images if they are fewer."""
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=1e-2)
    size = min(128, len(data.train))
    steps = recipe.epochs * (len(data.train) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    classifier.train()
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(data.train))
        for rows in torch.split(order, size)[: len(order) // size]:
            logits = classifier(augment(data.train[rows], recipe))
            loss = nn.functional.cross_entropy(logits, data.train_classes[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        if (epoch + 1) % 10 == 0 or recipe.epochs < 20:
            print(f"epoch {epoch + 1} of {recipe.epochs}: loss {loss.item():.4f}", flush=True)


def accuracy(classifier: Classifier, x: Tensor, classes: Tensor) -> float:
    """The fraction of images that are classified correctly, computed in float64 as in the metrics."""
    classifier = classifier.eval().double()
    predicted = torch.cat([classifier.predict(round_to_256_levels(rows)) for rows in torch.split(x, 500)])
    return float((predicted == classes).double().mean())


def save_classifier(classifier: Classifier, architecture: dict[str, Any], path: Path) -> None:
    """Writes the weights; `architecture` holds the arguments of the class."""
    # The metadata have a single key, because safetensors writes several keys in a random order.
    save_file(classifier.state_dict(), path, metadata={"architecture": json.dumps(architecture)})


def main() -> None:
    """Trains a classifier, writes its weights, and prints the numbers for the README of the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help=f"{', '.join(RECIPES)}, or a folder with a sub-folder for each class")
    parser.add_argument("--root", type=Path, help="folder of MNIST/raw or FashionMNIST/raw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--side", type=int, default=32, help="of a folder: the height and width of the images"
    )
    parser.add_argument("--epochs", type=int, default=30, help="of a folder")
    parser.add_argument("--output", type=Path, help="of a folder: the .safetensors file to write")
    options = parser.parse_args()
    datasets = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
    if options.name in datasets and options.root is None:
        parser.error(f"{options.name} needs --root, the folder of MNIST/raw or FashionMNIST/raw")
    path, recipe = CLASSIFIER_FOLDER / f"{options.name}.safetensors", RECIPES.get(options.name)
    if options.name == "digits":
        data = digits()
    elif options.name in datasets:
        data = torchvision_data(datasets[options.name], options.root)
    else:
        if options.output is None or options.output.suffix != ".safetensors":
            parser.error("a folder needs --output, a file that ends in .safetensors")
        data, path = class_folder(Path(options.name), options.side), options.output
    recipe = recipe or Recipe(options.epochs, degrees=4, pixels=options.side / 16, noise=0.03, mirror=True)
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    architecture: dict[str, Any] = {
        "shape": tuple(data.train.shape[1:]),
        "num_classes": int(data.train_classes.max()) + 1,
        "width": 24,
        "num_features": 48,
    }
    classifier = Classifier(**architecture)
    train(classifier, data, recipe)
    save_classifier(classifier, architecture, path)
    test_accuracy = accuracy(classifier, data.test, data.test_classes)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path.name}: test accuracy {test_accuracy:.4f}, {path.stat().st_size} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
