"""The digits, compared with those of scikit-learn."""

from __future__ import annotations

import itertools

import pytest
import torch
from support.refusals import refuses

from ganlab.data.vision import Digits

FACTS = {
    "shape": [1, 8, 8],
    "num_classes": 10,
    "range": [-1, 1],
    "batch_size": 64,
    "validation": 0,
    "validation_choice": "last",
    "labelled": None,
}


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    found = load_digits()
    data = Digits(**FACTS)
    assert len(data) == 1437
    (x, y) = next(data.split("test", "cpu", 1000))
    assert x.shape == (360, 1, 8, 8)
    assert y.tolist() == found.target[1437:].tolist()
    assert torch.allclose((x[:, 0] + 1) * 8, torch.from_numpy(found.images[1437:]).float(), atol=8 / 255)
    x, y, _ = next(iter(data.stream(0, lambda: 0, "cpu"))).real
    assert x.shape == (64, 1, 8, 8)
    assert y.dtype == torch.int64
    assert (x.min(), x.max()) == (-1, 1)


@pytest.mark.parametrize(
    ("key", "value", "reason", "remedy"),
    [
        ("shape", [1, 16, 16], "contradicts the data", r"set it to \[1,8,8\]"),
        ("num_classes", 12, "contradicts the data", "set it to 10"),
        ("num_classes", None, "contradicts the data", "set it to 10"),
        ("range", [0, 255], "is not a value range of images", r"set it to \[-1,1\] or \[0,1\]"),
        ("range", None, "is not a value range of images", r"set it to \[-1,1\] or \[0,1\]"),
        ("validation", 1437, "holds out all 1437 samples", "lower it"),
    ],
)
def test_settings_that_contradict_the_data_are_refused(key, value, reason, remedy):
    with refuses(f".{key}", value, reason, remedy):
        Digits(**(FACTS | {key: value}))


def rows(data: Digits, split: str) -> torch.Tensor:
    """A split's images and classes as rows, [N, 65]."""
    x, y = next(data.split(split, "cpu", 2000))
    return torch.cat([x.flatten(1), y[:, None]], 1)


@pytest.mark.parametrize("choice", ["last", "random"])
def test_held_out_images_are_not_trained_on(choice):
    everything = rows(Digits(**FACTS), "train")
    data = Digits(**(FACTS | {"validation": 200, "validation_choice": choice}))
    training, validation = rows(data, "train"), rows(data, "validation")
    assert len(data) == len(training) == 1237
    both = torch.cat([training, validation])
    assert torch.equal(both, everything) == (choice == "last")
    assert sorted(both.tolist()) == sorted(everything.tolist())
    again = Digits(**(FACTS | {"validation": 200, "validation_choice": choice}))
    assert torch.equal(rows(again, "validation"), validation)
    drawn = torch.cat([batch.real.x for batch in itertools.islice(data.stream(0, lambda: 0, "cpu"), 19)])
    seen = {tuple(row) for row in drawn.flatten(1).tolist()}
    assert len(seen) == 19 * 64
    assert not seen & {tuple(row) for row in validation[:, :64].tolist()}


def test_the_mean_is_over_the_training_samples():
    data = Digits(**(FACTS | {"validation": 200}))
    assert data.mean().shape == (1, 8, 8)
    assert torch.allclose(data.mean().flatten(), rows(data, "train")[:, :64].double().mean(0), atol=1e-6)


def test_there_is_no_validation_split_unless_one_is_held_out():
    with refuses(reason="no split 'validation'", remedy="train, test, or .* data.validation"):
        Digits(**FACTS).split("validation", "cpu", 10)
