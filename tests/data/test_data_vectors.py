"""Vectors of images and points: in files, in torch data sets, and as conditions that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support.data_streams import first_batches, read_split, same_batches
from support.image_folders import write_image
from support.refusals import refuses
from torch.utils.data import TensorDataset

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.core.batch import ConditionSpec
from ganlab.data.base import Data
from ganlab.data.conditions import given_conditions
from ganlab.data.dataset import TorchDataset

SIZES = [(8, 8), (9, 13), (20, 9), (8, 11), (12, 12), (30, 16), (8, 9)]
SPEC = ConditionSpec("vector", (2,))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Images in three folders, and a table of the mean of their red and their number."""
    lines = []
    for i, size in enumerate(SIZES):
        name = f"{'test' if i > 4 else 'train'}/{'dogs' if i in (1, 3) else 'cats'}/{i % 5}.png"
        red = write_image(tmp_path / "album" / name, i, size)[..., 0].mean() / 127.5 - 1
        lines.append(f"{red:.6f},{name},{i}\n")
    (tmp_path / "vectors.csv").write_text("red,file,number\n" + "".join(reversed(lines)))
    return tmp_path


def told(album: Path, **changes: Any) -> Data:
    overrides = [f"data.root={album / 'album'}", f"data.vectors={album / 'vectors.csv'}"]
    cfg = compose("data=folder_and_vectors", *overrides, "data.height=8", "data.batch_size=2")
    cfg.data.condition.shape = [2]
    cfg.data = OmegaConf.merge(cfg.data, {"num_workers": 0, "crop": "none", **changes})
    return build_data(cfg)


def numbers(data: Data, split: str) -> list[int]:
    return read_split(data, split)[1][:, 1].int().tolist()


@pytest.mark.parametrize("crop", ["none", "random"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_each_image_keeps_its_vector_whatever_moves_it(album: Path, in_memory: bool, crop: str) -> None:
    data = told(album, flip=True, in_memory=in_memory, crop=crop)
    assert numbers(data, "train") == [0, 2, 4, 1, 3]
    assert numbers(data, "test") == [5, 6]
    x, vectors = read_split(data)
    seen = set()
    for batch in data.stream(0, lambda: 0, "cpu"):
        for image, vector, row in zip(*batch.real[:2], batch.indices, strict=True):
            assert torch.equal(vector, vectors[row])
            moved = torch.equal(image, x[row]), torch.equal(image, x[row].flip(-1))
            assert crop == "random" or any(moved)
            seen.add(moved)
        if len(seen) > 1:
            break
    if crop == "none":
        assert (x[:, 0].mean((1, 2)) - vectors[:, 0]).abs().max() < 0.05
    batches = first_batches(data, 5)
    assert same_batches(batches, first_batches(told(album, flip=True, in_memory=True, crop=crop), 5))
    assert data.conditions("test")(3)[:, 1].tolist() == [5, 6, 5]
    assert torch.equal(data.conditions("test").answers(2), read_split(data, "test")[0])


def test_an_unreadable_image_is_replaced_together_with_its_vector(album: Path) -> None:
    (album / "album" / "train" / "cats" / "2.png").write_text("")
    held, read = (told(album, on_corrupt="skip", in_memory=in_memory) for in_memory in (True, False))
    assert numbers(held, "train") == numbers(read, "train") == [0, 4, 1, 3]
    assert same_batches(first_batches(held, 6), first_batches(read, 6))


def test_splits_and_classes_take_their_vectors_along(album: Path) -> None:
    data = told(album, validation=2, validation_choice="last")
    assert (numbers(data, "train"), numbers(data, "validation")) == ([0, 2, 4], [1, 3])
    dogs = told(album, classes=["dogs"])
    assert (numbers(dogs, "train"), numbers(dogs, "held_out")) == ([1, 3], [5, 6])


def test_other_vectors_are_other_data(album: Path) -> None:
    hashes = {told(album).fingerprint(), told(album, in_memory=False).fingerprint()}
    table = album / "vectors.csv"
    table.write_text(table.read_text().replace(",4\n", ",40\n"))
    assert len(hashes) == 1
    assert told(album).fingerprint() not in hashes


def test_vectors_of_a_test_folder_elsewhere_are_named_from_the_root(album: Path) -> None:
    (album / "album" / "test").rename(album / "apart")
    table = album / "vectors.csv"
    table.write_text(table.read_text().replace("train/", "").replace("test/", "../../apart/"))
    settings = {"root": str(album / "album" / "train"), "test_root": str(album / "apart")}
    assert numbers(told(album, **settings), "test") == [5, 6]


def test_an_archive_of_arrays_is_a_table_too(album: Path) -> None:
    names = [f"train/{name}.png" for name in ("cats/0", "dogs/1", "cats/2", "dogs/3", "cats/4")]
    names += ["test/cats/0.png", "test/cats/1.png"]
    vectors = np.stack([np.zeros(7), np.arange(7)], 1)
    np.savez(album / "vectors.npz", names=names, vectors=vectors)
    assert numbers(told(album, vectors=str(album / "vectors.npz")), "train") == [0, 2, 4, 1, 3]
    np.savez(album / "vectors.npz", names=names[:3], vectors=vectors)
    with refuses("data.vectors", reason=r"does not hold finite vectors \[N, E\], all or none of them named"):
        told(album, vectors=str(album / "vectors.npz"))


@pytest.mark.parametrize(
    ("change", "reason", "remedy"),
    [
        (
            lambda text: text.replace("train/dogs/3.png", "cow.png"),
            "does not name train/dogs/3.png",
            "add it",
        ),
        (
            lambda text: text.replace("file", "image"),
            "column image has test/cats/1.png, which is not",
            "correct",
        ),
        (lambda text: text + "0,train/dogs/3.png,9\n", "names an image twice", "remove one"),
        (lambda text: text.replace(",3\n", ",\n"), "line 5, column number is empty", "correct it"),
        (lambda text: text[:-3], "cannot be read", ""),
        (lambda text: "file\n" + "train/dogs/3.png\n", "does not hold finite vectors", ""),
    ],
)
def test_a_table_that_does_not_fit_the_images_is_refused(
    album: Path, change: Any, reason: str, remedy: str
) -> None:
    table = album / "vectors.csv"
    table.write_text(change(table.read_text()))
    with refuses("data.vectors", str(table), reason, remedy):
        told(album)


def test_a_condition_that_does_not_fit_the_vectors_is_refused(album: Path) -> None:
    with refuses("data.condition.shape", [5], r"data have vectors of the shape \[2\]", r"set it to \[2\]"):
        told(album, condition={"shape": [5]})
    with refuses("data.direction", None, "contradicts", "data=folder_and_vectors"):
        told(album, vectors=None)
    with refuses("data.direction", "AtoB", "contradicts"):
        told(album, direction="AtoB")
    x = torch.zeros(4, 2)
    with refuses(".condition.shape", [2], "the data have no vectors", "choose data with vectors"):
        torch_data(TensorDataset(x), shape=[2], range=None, condition=SPEC)
    with refuses(".condition.shape", None, r"vectors of the shape \[3\]", r"set it to \[3\]"):
        torch_data(TensorDataset(x, torch.zeros(4, 3)), shape=[2], range=None)


def torch_data(train: Any, **changes: Any) -> TorchDataset:
    settings = OmegaConf.to_container(OmegaConf.load("conf/data/dataset.yaml"))
    settings |= {"train": train, "shape": [1, 8, 8], "batch_size": 2} | changes
    del settings["_target_"]
    return TorchDataset(**settings)


@pytest.mark.parametrize("shape", [[1, 8, 8], [3]])
def test_the_items_of_a_torch_data_set_may_have_vectors(shape: list[int]) -> None:
    x, vectors = torch.rand(6, *shape), torch.randn(6, 2, dtype=torch.float64)
    value_range = None if len(shape) == 1 else (-1, 1)
    data = torch_data(TensorDataset(x, vectors), shape=shape, range=value_range, condition=SPEC)
    found = read_split(data)[1]
    assert torch.equal(found, vectors.float())
    real, _, rows = next(iter(data.stream(0, lambda: 0, "cpu")))
    assert torch.equal(real.condition, found[rows])
    for wrong in (torch.randn(6, 2, 2), torch.full((6, 2), torch.nan)):
        with refuses(
            ".", reason="an item has more than a sample and its class, a whole number, or its vector"
        ):
            torch_data(TensorDataset(x, wrong), shape=shape, range=value_range, condition=SPEC)


def test_a_user_names_a_file_of_vectors(tmp_path: Path) -> None:
    def read(name: str) -> Any:
        return given_conditions(str(tmp_path / name), SPEC, {}, lambda: pytest.fail("reads data"))

    np.save(tmp_path / "two.npy", np.array([[1, 2], [3, 4]]))
    (tmp_path / "two.csv").write_text("a,file,b\n1,x.png,2\n3,y.png,4\n")
    expected = torch.tensor([[1.0, 2], [3, 4], [1, 2]])
    for name in ("two.npy", "two.csv"):
        found = read(name)
        assert found.name == "2 vectors from a file"
        assert torch.equal(found(3), expected)
        assert found.answers is None
    np.save(tmp_path / "three.npy", np.zeros((4, 3)))
    with refuses("condition", str(tmp_path / "three.npy"), "vectors of 3 elements, .* is told 2"):
        read("three.npy")
    for array in (np.zeros(2), np.full((1, 2), np.inf), np.zeros((0, 2))):
        np.save(tmp_path / "wrong.npy", array)
        with refuses("condition", str(tmp_path / "wrong.npy"), "does not hold finite vectors"):
            read("wrong.npy")
    np.save(tmp_path / "code.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("code.npy", ".", "bad.csv"):
        (tmp_path / "bad.csv").write_bytes(b"\xff")
        with refuses("condition", reason="cannot be read"):
            read(name)
    with refuses("condition", str(tmp_path / "no.npy"), "neither a split of the data nor a file"):
        read("no.npy")


def test_vectors_follow_their_rows() -> None:
    """The rows that a metric takes of a split keep their vectors."""
    x = torch.arange(6.0)[:, None]
    data = torch_data(
        TensorDataset(x, x.expand(6, 2) + 0.5), shape=[1], range=None, condition=SPEC, validation=2
    )
    for split in ("train", "validation"):
        points, vectors = read_split(data, split)
        assert torch.equal(vectors, points.expand(-1, 2) + 0.5)
    points, vectors = next(data.subset("train", 3, "cpu", 3))
    assert torch.equal(vectors, points.expand(-1, 2) + 0.5)
