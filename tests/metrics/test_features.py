"""The committed classifiers: accuracy, refusals, and the hashes of their files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.refusals import refuses
from torch import Tensor

from ganlab.data.vision import NUM_TRAIN
from ganlab.metrics.extractors import CLASSIFIER_FOLDER, Classifier
from ganlab.metrics.features import round_to_256_levels

DATA = Path(__file__).parents[3] / "shared" / "data"
NAMES = ["digits", "mnist", "fashion_mnist"]


def digits() -> tuple[Tensor, Tensor]:
    """The test split: images [N, 1, 8, 8] in [0, 1] and classes [N]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.round(bunch.images * 255 / 16).astype(np.uint8))
    return images[NUM_TRAIN:, None].float() / 255, torch.from_numpy(bunch.target)[NUM_TRAIN:]


def read_idx(path: Path, header: int) -> Tensor:
    """The bytes of an IDX file after its header, whose length is given in bytes."""
    return torch.from_numpy(np.frombuffer(path.read_bytes(), np.uint8, offset=header).copy())


def test_digits_accuracy() -> None:
    images, classes = digits()
    assert (Classifier.load("digits").predict(images) == classes).double().mean() >= 0.97


@pytest.mark.skipif(not (DATA / "MNIST").is_dir(), reason="needs MNIST in ../shared/data")
@pytest.mark.parametrize(
    ("name", "folder", "least"), [("mnist", "MNIST", 0.99), ("fashion_mnist", "FashionMNIST", 0.9)]
)
def test_accuracy(name: str, folder: str, least: float) -> None:
    raw = DATA / folder / "raw"
    images = read_idx(raw / "t10k-images-idx3-ubyte", header=16).view(-1, 1, 28, 28)[:2000]
    classes = read_idx(raw / "t10k-labels-idx1-ubyte", header=8)[:2000]
    assert (Classifier.load(name).predict(images / 255) == classes).double().mean() >= least


@pytest.mark.parametrize("name", NAMES)
def test_file_is_small_and_documented(name: str) -> None:
    path = CLASSIFIER_FOLDER / f"{name}.safetensors"
    assert path.stat().st_size < 1_000_000
    readme = (CLASSIFIER_FOLDER / "README.md").read_text()
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{path.name}`"))
    assert re.findall(r"[0-9a-f]{64}", row) == [Classifier.load(name).sha256]


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_classifier_is_frozen_and_computes_features(name: str) -> None:
    classifier = Classifier.load(name)
    x = torch.rand(5, *classifier.shape)
    features = classifier.features(x)
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    assert features.shape == (5, classifier.num_features)
    assert features.min() >= 0
    assert classifier(x).shape == (5, 10)
    assert torch.equal(classifier.head(features), classifier(x))
    assert classifier.predict(x).dtype == torch.int64


def test_features_of_an_image_do_not_depend_on_its_batch() -> None:
    classifier, (images, _) = Classifier.load("digits").double(), digits()
    x = round_to_256_levels(images[:7])
    torch.testing.assert_close(classifier.features(x)[3:4], classifier.features(x[3:4]))


@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (5, 3, 8, 8), (5, 64), (1, 8, 8)])
def test_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    expected, actual = re.escape("[1, 8, 8]"), re.escape(str(list(shape[1:])))
    reason = f"takes images of shape {expected}, and these samples have the shape {actual}"
    with refuses("extractor", "digits", reason):
        Classifier.load("digits").features(torch.zeros(shape))


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with refuses("extractor", "letters", "unknown", "choose one of digits, fashion_mnist, mnist"):
        Classifier.load("letters")


def test_small_images_are_refused() -> None:
    with refuses("data.shape", [1, 7, 8], "too small", "at least 8 x 8"):
        Classifier((1, 7, 8), num_classes=2, width=4, num_features=4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 9, 13), (3, 32, 32)])
def test_classifier_takes_any_size_from_eight(shape: tuple[int, int, int]) -> None:
    classifier = Classifier(shape, num_classes=3, width=4, num_features=6)
    assert classifier(torch.rand(2, *shape)).shape == (2, 3)


def test_rounding_keeps_images_of_256_levels_exactly() -> None:
    levels = torch.arange(256)
    assert torch.equal(round_to_256_levels(levels.float() / 255), levels.double() / 255)
    assert round_to_256_levels(torch.tensor([0.4999 / 255, 0.5001 / 255])).tolist() == [0, 1 / 255]


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.tensor([0, 255], dtype=torch.uint8), "torch.uint8"),
        (torch.tensor([-1.0, 1.0]), "from -1 to 1"),
        (torch.tensor([0.0, 1.01]), "from 0 to 1.01"),
        (torch.tensor([0.0, torch.nan]), "nan"),
    ],
)
def test_wrong_values_are_refused(x: Tensor, reason: str) -> None:
    with refuses(reason=reason, remedy="divide by 255|rescale or clamp"):
        round_to_256_levels(x)
