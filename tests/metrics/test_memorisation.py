"""Memorisation against the statistic of Mann and Whitney, and for copies and new images."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import mannwhitneyu
from test_fidelity import Pixels, images
from torch import Tensor

from ganlab.metrics.features import round_to_256_levels
from ganlab.metrics.neighbours import Memorisation, nearest_distances

NAMES = ("memorisation/pixels_train", "memorisation_pixels/pixels_train")


def measure(train: Tensor, held_out: Tensor, fake: Tensor) -> dict[str, float]:
    """The metric's values, which must repeat after a reset."""
    metric = Memorisation(Pixels(64))
    for split, x in (("train", train), ("test", held_out)):
        for rows in x.split(30):
            metric.update(rows, split)
    metric.update(fake)
    values = metric.compute()
    metric.reset()
    metric.update(fake)
    assert metric.compute() == values
    return values


def test_it_is_the_statistic_of_mann_and_whitney() -> None:
    train, held_out, fake = images(80, 0), images(50, 1), images(40, 2, brightness=0.9)
    images_of = {"train": train, "held_out": held_out, "fake": fake}
    rounded = {name: round_to_256_levels(x) for name, x in images_of.items()}
    points = {name: x.flatten(1) for name, x in rounded.items()}
    distances = {
        name: [float((x - points["train"]).norm(dim=1).min()) for x in points[name]]
        for name in ("fake", "held_out")
    }
    # The statistic counts the pairs in which the generated sample is farther from the training set.
    expected = 1 - mannwhitneyu(distances["fake"], distances["held_out"]).statistic / (40 * 50)
    assert measure(**rounded) == pytest.approx(dict.fromkeys(NAMES, expected))


def test_copies_score_one_and_samples_far_from_all_data_zero() -> None:
    train, held_out = images(60, 0), images(40, 1)
    assert measure(train, held_out, train[:20]) == dict.fromkeys(NAMES, 1.0)
    assert measure(train, held_out, 1 - 0.1 * images(20, 2)) == dict.fromkeys(NAMES, 0.0)


def test_new_images_score_a_half() -> None:
    scores = []
    for i in range(30):
        train, held_out, fake = (images(60, seed) for seed in (3 * i, 3 * i + 1, 3 * i + 2))
        scores.append(measure(train, held_out, fake)[NAMES[0]])
    standard_error = float(torch.tensor(scores).std()) / 30**0.5
    assert sum(scores) / 30 == pytest.approx(0.5, abs=4 * standard_error)


def test_nearest_distances_are_those_to_the_other_set() -> None:
    x, y = torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([[1.5], [8.0]])
    assert nearest_distances(x.double(), y.double()).tolist() == [1.5, 0.5, 1.0]


def test_a_copy_has_distance_zero_however_far_from_the_origin() -> None:
    x = 100 + torch.randn(300, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # So if test images are copies of training images as well, the distances are equal.
    assert nearest_distances(x[:90], x).eq(0).all()
    assert nearest_distances(x[:90], x[90:]).gt(1).all()
