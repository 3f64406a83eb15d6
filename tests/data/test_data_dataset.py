"""Torch data sets as data of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.commands import assert_same_run, play, resume
from support.data_streams import read_split
from support.refusals import refuses
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ganlab.data.dataset import TorchDataset

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)


class Own(Dataset):
    """The same images in each of the kinds that a data set may return."""

    def __init__(self, kind: str, n: int = 40) -> None:
        self.kind, self.n = kind, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        x = PIXELS[i]
        floats = torch.from_numpy(x).permute(2, 0, 1) / 255
        return {
            "pil": Image.fromarray(x),
            "array": (x, i % 2),
            "tensor": (torch.from_numpy(x).permute(2, 0, 1), torch.tensor(i % 2)),
            "floats": floats,
            "signed": (2 * floats - 1,),
            "grey": x[..., 0],
            "shapes": x[: 8 - i % 2],
            "random": floats * torch.rand(()),
            "dict": {"image": x},
            "int": x.astype(np.int32),
            "triple": (x, 0, 0),
            "named": (x, "cat"),
            "some classes": (x, 0) if i else x,
        }[self.kind]


class Named(Own):
    classes = ("even", "odd")


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield torch.zeros(3, 8, 8)


def data(train: Any, **changes: Any) -> TorchDataset:
    settings = OmegaConf.to_container(OmegaConf.load("conf/data/dataset.yaml"))
    settings |= {"train": train, "shape": [3, 8, 8], "batch_size": 4} | changes
    del settings["_target_"]
    return TorchDataset(**settings)


def test_an_empty_data_set_is_refused_by_its_split() -> None:
    with refuses(".train", reason="has no samples"):
        data(Own("array", 0))
    with refuses(".test", reason="has no samples"):
        data(Own("array"), test=Own("array", 0))


@pytest.mark.parametrize("kind", ["pil", "array", "tensor", "floats", "signed"])
def test_all_kinds_of_items_give_the_same_images(kind: str) -> None:
    made = data(Own(kind), test=Own(kind, 10), values=[-1, 1] if kind == "signed" else [0, 1])
    x, labels = read_split(made)
    expected = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(x, expected, atol=1e-6, rtol=0)
    assert len(read_split(made, "test")[0]) == 10
    has_classes = kind in ("array", "tensor")
    assert (made.num_classes, labels is not None) == ((2, True) if has_classes else (None, False))
    if has_classes:
        assert labels.tolist() == [0, 1] * 20
        assert made.class_counts("test") == [5, 5]


def test_grey_images_have_one_channel_and_vectors_are_not_scaled() -> None:
    assert read_split(data(Own("grey"), shape=[1, 8, 8]))[0].shape == (40, 1, 8, 8)
    points, labels = torch.randn(30, 2), torch.arange(30) % 3
    made = data(TensorDataset(points, labels), shape=[2], range=None)
    assert torch.equal(read_split(made)[0], points)
    assert made.num_classes == 3


def test_names_of_classes_choose_them() -> None:
    made = data(Named("array"), classes=["odd"])
    assert (made.class_names, len(made)) == (("odd",), 20)
    assert data(Named("array")).fingerprint() != data(Named("array", 39)).fingerprint()


@pytest.mark.parametrize(
    ("kind", "key", "reason"),
    [
        ("shapes", ".", "stack expects each tensor to be equal size"),
        ("random", ".train", "differs when it is read again"),
        ("dict", ".", "an item is a dict"),
        ("int", ".", "of torch.int32"),
        ("triple", ".", "more than a sample and its class"),
        ("named", ".", "cannot be read"),
        ("signed", ".values", "lie from -1 to 1"),
        ("some classes", ".", "classes for some samples only"),
    ],
)
def test_other_items_are_refused_by_name(kind: str, key: str, reason: str) -> None:
    with refuses(key, reason=reason):
        data(Own(kind))


def test_data_sets_without_a_length_are_refused_with_the_recipe() -> None:
    with refuses(".train", reason="no __len__ and __getitem__", remedy="data=folder"):
        data(Stream())
    with refuses(".train", reason="is missing"):
        data(None)


def test_settings_that_contradict_the_samples_are_refused_with_the_right_ones() -> None:
    with refuses(".shape", [1, 8, 8], remedy=r"\[3,8,8\]"):
        data(Own("pil"), shape=[1, 8, 8])
    with refuses(".num_classes", 3, remedy="2"):
        data(Own("array"), num_classes=3)


def test_a_run_on_a_data_set_resumes_exactly(tmp_path: Path) -> None:
    overrides = ["data=dataset", f"data.train={{_target_:{__name__}.Own,kind:array}}", "data.shape=[3,8,8]"]
    overrides += ["trick=label_conditioning", "data.flip=true", "log_every=3"]
    play(tmp_path / "whole", *overrides, "steps=6")
    play(tmp_path / "part", *overrides, "steps=3")
    resume(tmp_path / "part", "steps=6")
    assert_same_run(tmp_path / "whole", tmp_path / "part")
