"""Trains a classifier whose features metrics look through: `train_classifier.py digits`, in 15 seconds.

`train_classifier.py mnist --root DIR`, and `fashion_mnist` likewise, read torchvision's layout in DIR and
take some minutes on one core.
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

from ganlab.metrics.features import WEIGHTS, Classifier, eight_bit


class Data(NamedTuple):
    """Images [N, 1, H, W] in [0, 1] and their classes [N], for training and for the test."""

    train: Tensor
    train_classes: Tensor
    test: Tensor
    test_classes: Tensor


class Recipe(NamedTuple):
    """How long a classifier is trained, and how much its images are changed meanwhile."""

    epochs: int
    degrees: float
    pixels: float
    noise: float
    mirror: bool


RECIPES = {
    "digits": Recipe(100, 8, 0.6, 0.1, mirror=False),
    "mnist": Recipe(6, 12, 2, 0.1, mirror=False),
    "fashion_mnist": Recipe(14, 2, 1, 0.03, mirror=True),
}


def digits() -> Data:
    """The 1797 digits of scikit-learn, 8 x 8, as 8-bit images; the last fifth is for the test."""
    from sklearn.datasets import load_digits

    from ganlab.data.digits import TRAINING

    bunch = load_digits()
    eight_bits = np.round(bunch.images * 255 / 16).astype(np.uint8)
    images = torch.from_numpy(eight_bits)[:, None].float() / 255  # [N, 1, 8, 8]
    classes = torch.from_numpy(bunch.target)
    return Data(images[:TRAINING], classes[:TRAINING], images[TRAINING:], classes[TRAINING:])


def files(dataset: str, root: Path) -> Data:
    """A set of torchvision's by its own split, [N, 1, 28, 28]; the files must be there."""
    from ganlab.data.vision import load

    (train, train_classes), (test, test_classes) = load(dataset, str(root))
    return Data(train.float() / 255, train_classes, test.float() / 255, test_classes)


def augmented(x: Tensor, how: Recipe) -> Tensor:
    """Turned, moved, mirrored and made noisy at random, as the recipe says; the noise is Gaussian."""
    n, _, height, width = x.shape
    degrees, pixels = how.degrees, how.pixels
    x = torch.where(torch.rand(n, 1, 1, 1) < 0.5, x.flip(3), x) if how.mirror else x
    angle = (2 * torch.rand(n) - 1) * math.radians(degrees)
    shift = (2 * torch.rand(n, 2, 1) - 1) * pixels * 2 / torch.tensor([[width], [height]])
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    grid = functional.affine_grid(torch.cat([turn, shift], 2), list(x.shape), align_corners=False)
    moved = functional.grid_sample(x, grid, align_corners=False)
    return (moved + how.noise * torch.rand(n, 1, 1, 1) * torch.randn_like(x)).clamp(0, 1)


def train(classifier: Classifier, data: Data, how: Recipe) -> None:
    """Adam with weight decay on a one-cycle rate, batches of 128."""
    epochs = how.epochs
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=1e-2)
    rounds = epochs * (len(data.train) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=rounds)
    classifier.train()
    for epoch in range(epochs):
        order = torch.randperm(len(data.train))
        for rows in torch.split(order, 128)[: len(order) // 128]:
            logits = classifier(augmented(data.train[rows], how))
            loss = nn.functional.cross_entropy(logits, data.train_classes[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9 or epochs <= 14:
            print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.4f}", flush=True)


def accuracy(classifier: Classifier, x: Tensor, classes: Tensor) -> float:
    """The share of images whose class is found, measured in float64 as metrics do."""
    classifier = classifier.eval().double()
    found = torch.cat([classifier.predict(eight_bit(rows)) for rows in torch.split(x, 500)])
    return float((found == classes).double().mean())


def main() -> None:
    """Trains, writes the weights and prints what the README beside them says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--root", type=Path, help="where MNIST/raw or FashionMNIST/raw is")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.name != "digits" and arguments.root is None:
        parser.error(f"{arguments.name} needs --root, the folder that holds MNIST/raw or FashionMNIST/raw")

    datasets = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
    data = digits() if arguments.name == "digits" else files(datasets[arguments.name], arguments.root)
    torch.manual_seed(arguments.seed)
    torch.use_deterministic_algorithms(True)
    architecture: dict[str, Any] = {
        "shape": tuple(data.train.shape[1:]),
        "num_classes": 10,
        "width": 24,
        "num_features": 48,
    }
    classifier = Classifier(**architecture)
    train(classifier, data, RECIPES[arguments.name])

    # One key only: safetensors writes several in an order that changes from run to run.
    path = WEIGHTS / f"{arguments.name}.safetensors"
    save_file(classifier.state_dict(), path, metadata={"architecture": json.dumps(architecture)})
    share = accuracy(classifier, data.test, data.test_classes)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path.name}: test accuracy {share:.4f}, {path.stat().st_size} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
