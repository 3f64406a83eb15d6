"""Files of two images side by side: a sample and its condition, which stay together."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.data_streams import first_batches, same_batches
from support.image_folders import image_folder
from support.refusals import refuses
from torch import Tensor

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.data.base import Data

FACADES = Path("../shared/data/facades.tar")
PAIR = {"kind": "image", "shape": [3, 8, 8], "_target_": "ganlab.core.batch.ConditionSpec"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Nine files of many sizes; on the right is the negative of the left half."""
    for i, (height, half) in enumerate(itertools.product((8, 11, 20), (8, 9, 17))):
        left = np.random.default_rng(i).integers(0, 256, (height, half, 3), dtype=np.uint8)
        middle = np.zeros((height, i % 2, 3), np.uint8)  # of odd widths, a column belongs to neither half
        Image.fromarray(np.concatenate([left, middle, 255 - left], 1)).save(tmp_path / f"{i}.png")
    return tmp_path


def paired(root: Path, **changes: Any) -> Data:
    cfg = compose("data=paired_folder", f"data.root={root}", "data.height=8", "data.batch_size=3")
    cfg.data = OmegaConf.merge(cfg.data, {"num_workers": 0, **changes})
    return build_data(cfg)


def pairs_of(data: Data, n: int) -> list[tuple[Tensor, Tensor]]:
    return [
        (batch.real.x, batch.real.condition)
        for batch in itertools.islice(data.stream(0, lambda: 0, "cpu"), n)
    ]


@pytest.mark.parametrize("crop", ["none", "center", "random"])
@pytest.mark.parametrize(
    "reading", [{"in_memory": True}, {"in_memory": False}, {"in_memory": False, "num_workers": 2}]
)
def test_a_condition_is_cropped_and_mirrored_with_its_sample(
    pairs: Path, crop: str, reading: dict[str, Any]
) -> None:
    batches = pairs_of(paired(pairs, crop=crop, flip=True, **reading), 7)
    for x, condition in batches:
        assert x.shape == condition.shape == (3, 3, 8, 8)
        assert (x + condition).abs().max() <= 2.01 / 255  # negatives, up to the rounding of a resized image
    held = pairs_of(paired(pairs, crop=crop, flip=True, in_memory=True), 7)
    assert same_batches(batches, held)
    assert len({float(x[0].sum()) for x, _ in batches}) > 1


def test_the_direction_says_which_half_is_the_sample(pairs: Path) -> None:
    width, left = 8, np.asarray(Image.open(pairs / "0.png"))[:, :8]
    expected = torch.from_numpy(left.copy()).permute(2, 0, 1) / 127.5 - 1
    for direction, half in (("b_to_a", 0), ("a_to_b", 1)):
        data = paired(pairs, pairs=direction)
        sample_and_condition = next(data.split("train", "cpu", 1))
        torch.testing.assert_close(sample_and_condition[half][0], expected)
        torch.testing.assert_close(data.conditions("train")(1)[0], sample_and_condition[1][0])
    assert width == data.shape[2]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_file_is_skipped_as_a_pair(pairs: Path, num_workers: int) -> None:
    broken = pairs / "4.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    with refuses(reason="4.png cannot be read"):
        paired(pairs, in_memory=True)
    settings = {"on_corrupt": "skip", "crop": "random", "flip": True, "batch_size": 9}
    held = paired(pairs, in_memory=True, **settings)
    read = paired(pairs, in_memory=False, num_workers=num_workers, **settings)
    batches = pairs_of(read, 3)
    assert same_batches(batches, pairs_of(held, 3))
    assert all((x + condition).abs().max() <= 2.01 / 255 for x, condition in batches)
    assert read.skipped == held.skipped == [str(broken)]
    assert len(held.conditions("train")(9)) == 9


def test_a_part_of_the_pairs_is_held_out(pairs: Path) -> None:
    data = paired(pairs, validation=4)
    assert (len(data), len(data.sources["validation"])) == (5, 4)
    x, condition = next(data.split("validation", "cpu", 4))
    assert (x + condition).abs().max() <= 2.01 / 255


def test_pairs_and_the_condition_must_agree(pairs: Path) -> None:
    with refuses(".pairs", "a_to_b", "contradicts", "choose data=paired_folder"):
        image_folder(pairs, pairs="a_to_b")
    with refuses("data.pairs", None, "contradicts", "data=folder"):
        paired(pairs, pairs=None)
    with refuses("data.pairs", "a_to_b", "contradicts"):
        paired(pairs, condition=PAIR | {"shape": [3, 8, 4]})


def test_a_narrow_file_is_no_pair(tmp_path: Path) -> None:
    Image.new("RGB", (1, 8)).save(tmp_path / "0.png")
    with refuses(reason="0.png cannot be read as an image"):
        first_batches(paired(tmp_path, batch_size=1), 1)


@pytest.mark.skipif(not FACADES.is_file(), reason="../shared/data/facades.tar is not there")
def test_real_facades_are_told_their_labels(tmp_path: Path) -> None:
    names = [f"facades/test{side}/{i:03}.jpg" for side in "AB" for i in range(1, 5)]
    with tarfile.open(FACADES) as tar:
        tar.extractall(tmp_path, [tar.getmember(name) for name in names], filter="data")
    root = tmp_path / "joined"
    root.mkdir()
    for photo, labels in zip(names[:4], names[4:], strict=True):
        halves = [np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in (photo, labels)]
        Image.fromarray(np.concatenate(halves, 1)).save(root / f"{Path(photo).stem}.png")
    data = paired(root, pairs="b_to_a", height=256, batch_size=4)
    photos, maps = next(data.split("train", "cpu", 4))
    assert photos.shape == maps.shape == (4, 3, 256, 256)
    # Label maps have few colours, also after JPEG: most of their pixels are near those of a neighbour.
    steps = [(x[..., 1:] - x[..., :-1]).abs().amax(1) < 0.05 for x in (photos, maps)]
    assert steps[1].float().mean() > steps[0].float().mean() + 0.1
